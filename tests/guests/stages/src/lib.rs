//! Every role in one component: handler, authenticator, rate limiter,
//! middleware, router, transformer, caching and WebSocket. What a role does is
//! asked for by header fields, see [`stage::asked`] and each role's file. The
//! guests `stage-…`, in the folder `examples`, are one of these files each.

wit_bindgen::generate!({
    path: ["../../../wit", "wit"],
    world: "zlayer-tests:stages/stages",
    generate_all,
});

mod authenticate;
mod cache;
pub mod describe;
mod handle;
mod limit;
mod middleware;
mod route;
pub mod stage;
pub mod steps;
mod transform;
mod websocket;

use stage::Stage;

export!(Stage);
