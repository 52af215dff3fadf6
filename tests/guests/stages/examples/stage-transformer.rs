//! The transformer of the guest `stages`, alone.

wit_bindgen::generate!({
    path: ["../../../wit", "wit"],
    world: "zlayer-tests:stages/stage-transformer",
    generate_all,
});

#[path = "../src/stage.rs"]
pub mod stage;
#[path = "../src/steps.rs"]
pub mod steps;
#[path = "../src/transform.rs"]
mod transform;

use stage::Stage;

export!(Stage);
