//! The WebSocket role of the guest `stages`, alone.

wit_bindgen::generate!({
    path: ["../../../wit", "wit"],
    world: "zlayer-tests:stages/stage-websocket",
    generate_all,
});

#[path = "../src/stage.rs"]
pub mod stage;
#[path = "../src/steps.rs"]
pub mod steps;
#[path = "../src/websocket.rs"]
mod websocket;

use stage::Stage;

export!(Stage);
