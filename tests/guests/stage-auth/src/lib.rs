//! The authenticator of the guest `stages`, alone.

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package zlayer-tests:stage-auth;

        /// One role, with what it needs to find out what to do and to leave a trace.
        world stage-auth {
            import wasi:clocks/monotonic-clock@0.2.12;
            import wasi:random/random@0.2.12;
            import zlayer:plugin/config@0.1.0;
            import zlayer:plugin/keyvalue@0.1.0;
            import zlayer:plugin/logging@0.1.0;
            export zlayer:plugin/authenticator@0.1.0;
        }
    ",
    world: "zlayer-tests:stage-auth/stage-auth",
    generate_all,
});

#[path = "../../stages/src/authenticate.rs"]
mod authenticate;
#[path = "../../stages/src/describe.rs"]
pub mod describe;
#[path = "../../stages/src/stage.rs"]
pub mod stage;

use stage::Stage;

export!(Stage);
