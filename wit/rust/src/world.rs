//! The macro that a plugin begins with.

/// Makes the crate that calls it a plugin of the world of this name, such as `"zlayer-router"`: the
/// worlds are those of `wit/worlds.wit`.
///
/// It belongs at the top of the crate's root, and there it adds
///
/// - the host's interfaces that the world imports: `config`, `keyvalue`, `logging`, `secrets`,
///   `metrics`; where it includes WASI, `wasi`, and the shorter [`clock`](crate::clock) and
///   [`random`](crate::random);
/// - the modules of types that go with it: `common`, `request_types`, `http_types`, `plugin_metadata`;
/// - `exports`, with the interface to implement;
/// - the macro `export!`, which makes a type that implements it the plugin.
///
/// A plugin with several roles names several worlds, implements `Guest` of each and exports once:
///
/// ```
/// zlayer_plugin::world!("zlayer-transformer", "zlayer-websocket");
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! world {
    ($($world:tt),+ $(,)?) => {
        $crate::__worlds!([$($world)+] []);
    };
}

/// The call by which older instructions begin a plugin, `wit_bindgen::generate!({ world: …, path: … })`.
/// It does what [`world!`](crate::world) does. The contract is this crate's own, so `path` says nothing.
///
/// A plugin that was written that way builds unchanged with this dependency in its `Cargo.toml`:
///
/// ```toml
/// wit-bindgen = { package = "zlayer-plugin", path = "wit/rust" }
/// ```
#[macro_export]
macro_rules! generate {
    ({ world: $world:tt, path: $path:tt $(, generate_all)? $(,)? }) => {
        $crate::world!($world);
    };
}

/// Turns the worlds' names into those of the modules in `worlds`, and these into a plugin.
#[doc(hidden)]
#[macro_export]
macro_rules! __worlds {
    (["zlayer-plugin" $($rest:tt)*] [$($done:ident)*]) => {
        $crate::__worlds!([$($rest)*] [$($done)* handler]);
    };
    (["zlayer-http-handler" $($rest:tt)*] [$($done:ident)*]) => {
        $crate::__worlds!([$($rest)*] [$($done)* http_handler]);
    };
    (["zlayer-transformer" $($rest:tt)*] [$($done:ident)*]) => {
        $crate::__worlds!([$($rest)*] [$($done)* transformer]);
    };
    (["zlayer-authenticator" $($rest:tt)*] [$($done:ident)*]) => {
        $crate::__worlds!([$($rest)*] [$($done)* authenticator]);
    };
    (["zlayer-rate-limiter" $($rest:tt)*] [$($done:ident)*]) => {
        $crate::__worlds!([$($rest)*] [$($done)* rate_limiter]);
    };
    (["zlayer-middleware" $($rest:tt)*] [$($done:ident)*]) => {
        $crate::__worlds!([$($rest)*] [$($done)* middleware]);
    };
    (["zlayer-router" $($rest:tt)*] [$($done:ident)*]) => {
        $crate::__worlds!([$($rest)*] [$($done)* router]);
    };
    (["zlayer-cache" $($rest:tt)*] [$($done:ident)*]) => {
        $crate::__worlds!([$($rest)*] [$($done)* cache]);
    };
    (["zlayer-websocket" $($rest:tt)*] [$($done:ident)*]) => {
        $crate::__worlds!([$($rest)*] [$($done)* websocket]);
    };
    ([] [$($world:ident)+]) => {
        #[allow(unused_imports, reason = "no plugin uses all that its world offers")]
        use {$($crate::worlds::$world::root::*),+};

        /// What this plugin implements.
        #[allow(unused_imports, reason = "the interface is imported by its own name")]
        pub(crate) mod exports {
            $(pub(crate) use $crate::worlds::$world::exports::*;)+
        }

        /// Makes a type that implements `Guest` the plugin.
        #[allow(unused_macros, reason = "a library for plugins may only want the types")]
        macro_rules! export {
            ($plugin:ident) => {
                $($crate::bindings::$world::export!($plugin with_types_in $crate::bindings::$world);)+
            };
        }
    };
    ([$world:tt $($rest:tt)*] $done:tt) => {
        ::core::compile_error!(::core::concat!(
            "there is no world ", ::core::stringify!($world), ": there are \"zlayer-plugin\", \
             \"zlayer-http-handler\", \"zlayer-transformer\", \"zlayer-authenticator\", \
             \"zlayer-rate-limiter\", \"zlayer-middleware\", \"zlayer-router\", \"zlayer-cache\" and \
             \"zlayer-websocket\""
        ));
    };
}
