//! The middleware of the guest `stages`, alone.

wit_bindgen::generate!({
    path: ["../../../wit", "wit"],
    world: "zlayer-tests:stages/stage-middleware",
    generate_all,
});

#[path = "../src/middleware.rs"]
mod middleware;
#[path = "../src/stage.rs"]
pub mod stage;
#[path = "../src/steps.rs"]
pub mod steps;

use stage::Stage;

export!(Stage);
