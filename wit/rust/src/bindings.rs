//! What `wit-bindgen` makes of the contract in `wit/`: one set of types and imports, and for each
//! world the interface that it exports, over the same types.
//!
//! One set for all worlds is what lets a plugin play several roles, and the modules beside this one
//! stand between a plugin and its host whatever its world is. What a plugin does not call is not in
//! its component: the linker leaves the function out, and then the import goes too.

wit_bindgen::generate!({
    inline: r#"
        package zlayer:bindings;

        world imports {
            include wasi:cli/imports@0.2.12;
            include wasi:http/imports@0.2.12;
            import zlayer:plugin/common@0.1.0;
            import zlayer:plugin/plugin-metadata@0.1.0;
            import zlayer:plugin/request-types@0.1.0;
            import zlayer:plugin/http-types@0.1.0;
            import zlayer:plugin/config@0.1.0;
            import zlayer:plugin/keyvalue@0.1.0;
            import zlayer:plugin/logging@0.1.0;
            import zlayer:plugin/secrets@0.1.0;
            import zlayer:plugin/metrics@0.1.0;
        }
    "#,
    path: "..",
    world: "zlayer:bindings/imports",
    generate_all,
    generate_unused_types: true,
});

/// A module with what the world `$world` exports. `$ours` are the interfaces of the contract that it
/// imports, for their own sake or for their types; the word in front of them says what of WASI it
/// includes.
macro_rules! exports {
    ($module:ident, $world:tt, none { $($ours:tt)* }) => {
        exports!(@ $module, $world, { $($ours)* });
    };
    ($module:ident, $world:tt, http { $($ours:tt)* }) => {
        exports!(@shared $module, $world, {
            $($ours)*
                "wasi:http/types@0.2.12": crate::bindings::wasi::http::types,
                "wasi:http/outgoing-handler@0.2.12": crate::bindings::wasi::http::outgoing_handler,
        });
    };
    ($module:ident, $world:tt, cli { $($ours:tt)* }) => {
        exports!(@shared $module, $world, {
            $($ours)*
                "wasi:random/insecure@0.2.12": crate::bindings::wasi::random::insecure,
                "wasi:random/insecure-seed@0.2.12": crate::bindings::wasi::random::insecure_seed,
                "wasi:cli/environment@0.2.12": crate::bindings::wasi::cli::environment,
                "wasi:cli/exit@0.2.12": crate::bindings::wasi::cli::exit,
                "wasi:cli/terminal-input@0.2.12": crate::bindings::wasi::cli::terminal_input,
                "wasi:cli/terminal-output@0.2.12": crate::bindings::wasi::cli::terminal_output,
                "wasi:cli/terminal-stdin@0.2.12": crate::bindings::wasi::cli::terminal_stdin,
                "wasi:cli/terminal-stdout@0.2.12": crate::bindings::wasi::cli::terminal_stdout,
                "wasi:cli/terminal-stderr@0.2.12": crate::bindings::wasi::cli::terminal_stderr,
                "wasi:filesystem/types@0.2.12": crate::bindings::wasi::filesystem::types,
                "wasi:filesystem/preopens@0.2.12": crate::bindings::wasi::filesystem::preopens,
                "wasi:sockets/network@0.2.12": crate::bindings::wasi::sockets::network,
                "wasi:sockets/instance-network@0.2.12": crate::bindings::wasi::sockets::instance_network,
                "wasi:sockets/udp@0.2.12": crate::bindings::wasi::sockets::udp,
                "wasi:sockets/udp-create-socket@0.2.12": crate::bindings::wasi::sockets::udp_create_socket,
                "wasi:sockets/tcp@0.2.12": crate::bindings::wasi::sockets::tcp,
                "wasi:sockets/tcp-create-socket@0.2.12": crate::bindings::wasi::sockets::tcp_create_socket,
                "wasi:sockets/ip-name-lookup@0.2.12": crate::bindings::wasi::sockets::ip_name_lookup,
        });
    };
    ($module:ident, $world:tt, all { $($ours:tt)* }) => {
        exports!($module, $world, cli {
            $($ours)*
                "wasi:http/types@0.2.12": crate::bindings::wasi::http::types,
                "wasi:http/outgoing-handler@0.2.12": crate::bindings::wasi::http::outgoing_handler,
        });
    };
    // What both `wasi:cli/imports` and `wasi:http/imports` include.
    (@shared $module:ident, $world:tt, { $($with:tt)* }) => {
        exports!(@ $module, $world, {
            $($with)*
                "wasi:io/poll@0.2.12": crate::bindings::wasi::io::poll,
                "wasi:io/error@0.2.12": crate::bindings::wasi::io::error,
                "wasi:io/streams@0.2.12": crate::bindings::wasi::io::streams,
                "wasi:clocks/monotonic-clock@0.2.12": crate::bindings::wasi::clocks::monotonic_clock,
                "wasi:clocks/wall-clock@0.2.12": crate::bindings::wasi::clocks::wall_clock,
                "wasi:random/random@0.2.12": crate::bindings::wasi::random::random,
                "wasi:cli/stdin@0.2.12": crate::bindings::wasi::cli::stdin,
                "wasi:cli/stdout@0.2.12": crate::bindings::wasi::cli::stdout,
                "wasi:cli/stderr@0.2.12": crate::bindings::wasi::cli::stderr,
        });
    };
    (@ $module:ident, $world:tt, { $($name:tt: $place:path,)* }) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "..",
                world: $world,
                pub_export_macro: true,
                with: { $($name: $place,)* },
            });
        }
    };
}

exports!(handler, "zlayer:plugin/zlayer-plugin", all {
    "zlayer:plugin/common@0.1.0": crate::bindings::zlayer::plugin::common,
    "zlayer:plugin/plugin-metadata@0.1.0": crate::bindings::zlayer::plugin::plugin_metadata,
    "zlayer:plugin/request-types@0.1.0": crate::bindings::zlayer::plugin::request_types,
    "zlayer:plugin/config@0.1.0": crate::bindings::zlayer::plugin::config,
    "zlayer:plugin/keyvalue@0.1.0": crate::bindings::zlayer::plugin::keyvalue,
    "zlayer:plugin/logging@0.1.0": crate::bindings::zlayer::plugin::logging,
    "zlayer:plugin/secrets@0.1.0": crate::bindings::zlayer::plugin::secrets,
    "zlayer:plugin/metrics@0.1.0": crate::bindings::zlayer::plugin::metrics,
});

exports!(http_handler, "zlayer:plugin/zlayer-http-handler", http {
    "zlayer:plugin/common@0.1.0": crate::bindings::zlayer::plugin::common,
    "zlayer:plugin/config@0.1.0": crate::bindings::zlayer::plugin::config,
    "zlayer:plugin/keyvalue@0.1.0": crate::bindings::zlayer::plugin::keyvalue,
    "zlayer:plugin/logging@0.1.0": crate::bindings::zlayer::plugin::logging,
});

exports!(transformer, "zlayer:plugin/zlayer-transformer", cli {
    "zlayer:plugin/common@0.1.0": crate::bindings::zlayer::plugin::common,
    "zlayer:plugin/logging@0.1.0": crate::bindings::zlayer::plugin::logging,
});

exports!(authenticator, "zlayer:plugin/zlayer-authenticator", http {
    "zlayer:plugin/common@0.1.0": crate::bindings::zlayer::plugin::common,
    "zlayer:plugin/request-types@0.1.0": crate::bindings::zlayer::plugin::request_types,
    "zlayer:plugin/config@0.1.0": crate::bindings::zlayer::plugin::config,
    "zlayer:plugin/keyvalue@0.1.0": crate::bindings::zlayer::plugin::keyvalue,
    "zlayer:plugin/logging@0.1.0": crate::bindings::zlayer::plugin::logging,
    "zlayer:plugin/secrets@0.1.0": crate::bindings::zlayer::plugin::secrets,
});

exports!(rate_limiter, "zlayer:plugin/zlayer-rate-limiter", cli {
    "zlayer:plugin/common@0.1.0": crate::bindings::zlayer::plugin::common,
    "zlayer:plugin/request-types@0.1.0": crate::bindings::zlayer::plugin::request_types,
    "zlayer:plugin/config@0.1.0": crate::bindings::zlayer::plugin::config,
    "zlayer:plugin/keyvalue@0.1.0": crate::bindings::zlayer::plugin::keyvalue,
    "zlayer:plugin/logging@0.1.0": crate::bindings::zlayer::plugin::logging,
    "zlayer:plugin/metrics@0.1.0": crate::bindings::zlayer::plugin::metrics,
});

exports!(middleware, "zlayer:plugin/zlayer-middleware", http {
    "zlayer:plugin/common@0.1.0": crate::bindings::zlayer::plugin::common,
    "zlayer:plugin/http-types@0.1.0": crate::bindings::zlayer::plugin::http_types,
    "zlayer:plugin/config@0.1.0": crate::bindings::zlayer::plugin::config,
    "zlayer:plugin/logging@0.1.0": crate::bindings::zlayer::plugin::logging,
});

exports!(router, "zlayer:plugin/zlayer-router", http {
    "zlayer:plugin/common@0.1.0": crate::bindings::zlayer::plugin::common,
    "zlayer:plugin/request-types@0.1.0": crate::bindings::zlayer::plugin::request_types,
    "zlayer:plugin/http-types@0.1.0": crate::bindings::zlayer::plugin::http_types,
    "zlayer:plugin/config@0.1.0": crate::bindings::zlayer::plugin::config,
    "zlayer:plugin/keyvalue@0.1.0": crate::bindings::zlayer::plugin::keyvalue,
    "zlayer:plugin/logging@0.1.0": crate::bindings::zlayer::plugin::logging,
});

exports!(cache, "zlayer:plugin/zlayer-cache", none {
    "zlayer:plugin/common@0.1.0": crate::bindings::zlayer::plugin::common,
    "zlayer:plugin/config@0.1.0": crate::bindings::zlayer::plugin::config,
    "zlayer:plugin/keyvalue@0.1.0": crate::bindings::zlayer::plugin::keyvalue,
    "zlayer:plugin/logging@0.1.0": crate::bindings::zlayer::plugin::logging,
    "zlayer:plugin/metrics@0.1.0": crate::bindings::zlayer::plugin::metrics,
});

exports!(websocket, "zlayer:plugin/zlayer-websocket", none {
    "zlayer:plugin/common@0.1.0": crate::bindings::zlayer::plugin::common,
    "zlayer:plugin/config@0.1.0": crate::bindings::zlayer::plugin::config,
    "zlayer:plugin/keyvalue@0.1.0": crate::bindings::zlayer::plugin::keyvalue,
    "zlayer:plugin/logging@0.1.0": crate::bindings::zlayer::plugin::logging,
    "zlayer:plugin/secrets@0.1.0": crate::bindings::zlayer::plugin::secrets,
    "zlayer:plugin/metrics@0.1.0": crate::bindings::zlayer::plugin::metrics,
});
