//! The authenticator of the guest `stages`, alone.

wit_bindgen::generate!({
    path: ["../../../wit", "wit"],
    world: "zlayer-tests:stages/stage-auth",
    generate_all,
});

#[path = "../src/authenticate.rs"]
mod authenticate;
#[path = "../src/describe.rs"]
pub mod describe;
#[path = "../src/stage.rs"]
pub mod stage;

use stage::Stage;

export!(Stage);
