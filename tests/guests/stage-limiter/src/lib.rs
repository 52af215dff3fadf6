//! The rate limiter of the guest `stages`, alone.

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package zlayer-tests:stage-limiter;

        /// One role, with what it needs to find out what to do and to leave a trace.
        world stage-limiter {
            import wasi:clocks/monotonic-clock@0.2.12;
            import wasi:random/random@0.2.12;
            import zlayer:plugin/config@0.1.0;
            import zlayer:plugin/keyvalue@0.1.0;
            import zlayer:plugin/logging@0.1.0;
            export zlayer:plugin/rate-limiter@0.1.0;
        }
    ",
    world: "zlayer-tests:stage-limiter/stage-limiter",
    generate_all,
});

#[path = "../../stages/src/limit.rs"]
mod limit;
#[path = "../../stages/src/stage.rs"]
pub mod stage;

use stage::Stage;

export!(Stage);
