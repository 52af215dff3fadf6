//! The contract's types and traits, generated from `wit/` so that they cannot drift from it.

#![allow(missing_docs, reason = "generated; wit/ holds the documentation")]

wasmtime::component::bindgen!({
    path: "../wit",
    inline: "
        package zlayer:device;

        /// What this host links and calls today.
        world device {
            import zlayer:plugin/config@0.1.0;
            import zlayer:plugin/keyvalue@0.1.0;
            import zlayer:plugin/logging@0.1.0;
            import zlayer:plugin/secrets@0.1.0;
            import zlayer:plugin/metrics@0.1.0;
            export zlayer:plugin/handler@0.1.0;
            export zlayer:plugin/transformer@0.1.0;
            export zlayer:plugin/authenticator@0.1.0;
            export zlayer:plugin/rate-limiter@0.1.0;
            export zlayer:plugin/router@0.1.0;
            export zlayer:plugin/middleware@0.1.0;
            export zlayer:plugin/websocket@0.1.0;
            export zlayer:plugin/caching@0.1.0;
        }
    ",
    imports: {
        // These wait for the store to open; all others return at once.
        "zlayer:plugin/keyvalue@0.1.0": async,
        // A plugin can ask these for more than there is memory for, and they have no error for that.
        "zlayer:plugin/config@0.1.0.get-prefix": trappable,
        "zlayer:plugin/secrets@0.1.0.list-names": trappable,
    },
    exports: { default: async },
});
