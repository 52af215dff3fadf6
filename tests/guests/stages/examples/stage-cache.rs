//! The caching role of the guest `stages`, alone.

wit_bindgen::generate!({
    path: ["../../../wit", "wit"],
    world: "zlayer-tests:stages/stage-cache",
    generate_all,
});

#[path = "../src/cache.rs"]
mod cache;
#[path = "../src/stage.rs"]
pub mod stage;

use stage::Stage;

export!(Stage);
