//! The router of the guest `stages`, alone.

wit_bindgen::generate!({
    path: ["../../../wit", "wit"],
    world: "zlayer-tests:stages/stage-router",
    generate_all,
});

#[path = "../src/describe.rs"]
pub mod describe;
#[path = "../src/route.rs"]
mod route;
#[path = "../src/stage.rs"]
pub mod stage;
#[path = "../src/steps.rs"]
pub mod steps;

use stage::Stage;

export!(Stage);
