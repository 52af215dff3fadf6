//! The rate limiter of the guest `stages`, alone.

wit_bindgen::generate!({
    path: ["../../../wit", "wit"],
    world: "zlayer-tests:stages/stage-limiter",
    generate_all,
});

#[path = "../src/limit.rs"]
mod limit;
#[path = "../src/stage.rs"]
pub mod stage;

use stage::Stage;

export!(Stage);
