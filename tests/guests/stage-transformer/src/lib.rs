//! The transformer of the guest `stages`, alone.

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package zlayer-tests:stage-transformer;

        /// One role, with what it needs to find out what to do and to leave a trace.
        world stage-transformer {
            import wasi:clocks/monotonic-clock@0.2.12;
            import wasi:random/random@0.2.12;
            import zlayer:plugin/config@0.1.0;
            import zlayer:plugin/keyvalue@0.1.0;
            import zlayer:plugin/logging@0.1.0;
            export zlayer:plugin/transformer@0.1.0;
        }
    ",
    world: "zlayer-tests:stage-transformer/stage-transformer",
    generate_all,
});

#[path = "../../stages/src/stage.rs"]
pub mod stage;
#[path = "../../stages/src/steps.rs"]
pub mod steps;
#[path = "../../stages/src/transform.rs"]
mod transform;

use stage::Stage;

export!(Stage);
