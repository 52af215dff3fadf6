//! What a new plugin is made of, for each language.

use std::fmt;
use std::str::FromStr;

use zlayer_bundle::Role;

use super::File;
use super::name::Name;
use super::sources::CRATE;

/// What a plugin is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Rust,
    JavaScript,
    Python,
}

impl FromStr for Language {
    type Err = String;

    fn from_str(text: &str) -> Result<Language, String> {
        match text {
            "rust" => Ok(Language::Rust),
            "js" => Ok(Language::JavaScript),
            "python" => Ok(Language::Python),
            _ => Err(format!(
                "'{}' is no language that there is a beginning for: there are rust, js, python",
                text.escape_debug()
            )),
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Language::Rust => "rust",
            Language::JavaScript => "js",
            Language::Python => "python",
        })
    }
}

/// A template of a role: its file in `new/`.
macro_rules! templates {
    ($role:expr, $folder:literal, $ending:literal) => {
        match $role {
            Role::Handler => include_str!(concat!("../../new/", $folder, "/handler", $ending)),
            Role::HttpHandler => {
                include_str!(concat!("../../new/", $folder, "/http-handler", $ending))
            }
            Role::Transformer => {
                include_str!(concat!("../../new/", $folder, "/transformer", $ending))
            }
            Role::Authenticator => {
                include_str!(concat!("../../new/", $folder, "/authenticator", $ending))
            }
            Role::RateLimiter => {
                include_str!(concat!("../../new/", $folder, "/rate-limiter", $ending))
            }
            Role::Middleware => {
                include_str!(concat!("../../new/", $folder, "/middleware", $ending))
            }
            Role::Router => include_str!(concat!("../../new/", $folder, "/router", $ending)),
            Role::Cache => include_str!(concat!("../../new/", $folder, "/cache", $ending)),
            Role::WebSocket => include_str!(concat!("../../new/", $folder, "/websocket", $ending)),
        }
    };
}

impl Language {
    /// Every file of a plugin.
    pub(super) fn files(self, name: &Name, role: Role) -> Vec<File> {
        let contract = zlayer_precompile::contract_files();
        let mut files: Vec<File> = contract.map(|(path, text)| file(path, text)).collect();
        let mut fill = |path: &str, template: &str| {
            let text = template
                .replace("@NAME@", name.as_str())
                .replace("@FILE@", &name.of_file())
                .replace("@ROLE@", role.name())
                .replace("@WORLD@", world(role));
            files.push(file(path, &text));
        };
        match self {
            Language::Rust => {
                fill("Cargo.toml", include_str!("../../new/rust/Cargo.toml.in"));
                fill("README.md", include_str!("../../new/rust/README.md.in"));
                fill(".gitignore", "/target\n");
                fill("src/lib.rs", templates!(role, "rust", ".rs"));
                for (path, text) in CRATE {
                    files.push(file(path, text));
                }
            }
            Language::JavaScript => {
                fill("package.json", include_str!("../../new/js/package.json.in"));
                fill("README.md", include_str!("../../new/js/README.md.in"));
                fill(".gitignore", "/node_modules\n*.wasm\n");
                fill("src/main.js", &main_js(role));
                let (source, test) = halves(templates!(role, "js", ".js"));
                fill("src/plugin.js", source);
                fill("test/host.js", include_str!("../../new/js/host.js"));
                fill("test/plugin.test.js", test);
            }
            Language::Python => {
                fill("README.md", include_str!("../../new/python/README.md.in"));
                fill(".gitignore", "__pycache__\n*.wasm\n");
                let (source, test) = halves(templates!(role, "python", ".py"));
                fill("app.py", source);
                fill(
                    "host_double.py",
                    include_str!("../../new/python/host_double.py"),
                );
                fill("test_app.py", test);
            }
        }
        files
    }

    /// What tests and builds it, in its folder.
    pub(super) fn commands(self, name: &Name, role: Role) -> Vec<String> {
        let folder = format!("cd {}", name.as_str());
        let world = world(role);
        let own = match self {
            Language::Rust => vec![
                "cargo test".to_owned(),
                "cargo build --release --target wasm32-wasip2".to_owned(),
            ],
            Language::JavaScript => {
                vec![
                    "node --test".to_owned(),
                    "npm install && npm run build".to_owned(),
                ]
            }
            Language::Python => vec![
                "python3 -m unittest".to_owned(),
                format!(
                    "componentize-py -d wit -w {world} componentize app -o {}.wasm",
                    name.of_file()
                ),
            ],
        };
        [folder].into_iter().chain(own).collect()
    }
}

fn file(path: &str, text: &str) -> File {
    File {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

/// The world of the contract that is written for a role.
fn world(role: Role) -> &'static str {
    match role {
        Role::Handler => "zlayer-plugin",
        Role::HttpHandler => "zlayer-http-handler",
        Role::Transformer => "zlayer-transformer",
        Role::Authenticator => "zlayer-authenticator",
        Role::RateLimiter => "zlayer-rate-limiter",
        Role::Middleware => "zlayer-middleware",
        Role::Router => "zlayer-router",
        Role::Cache => "zlayer-cache",
        Role::WebSocket => "zlayer-websocket",
    }
}

/// The host's interfaces that a role's world imports.
fn imports(role: Role) -> &'static [&'static str] {
    match role {
        Role::Handler | Role::WebSocket => &["config", "keyvalue", "logging", "secrets", "metrics"],
        Role::HttpHandler | Role::Router => &["config", "keyvalue", "logging"],
        Role::Transformer => &["logging"],
        Role::Authenticator => &["config", "keyvalue", "logging", "secrets"],
        Role::RateLimiter | Role::Cache => &["config", "keyvalue", "logging", "metrics"],
        Role::Middleware => &["config", "logging"],
    }
}

/// A template holds the plugin, a line of `=`, and the plugin's test.
fn halves(template: &str) -> (&str, &str) {
    template.split_once("\n=====\n").unwrap_or((template, ""))
}

/// The only file of a plugin in JavaScript that a test cannot load: what it imports is there on a
/// device alone.
fn main_js(role: Role) -> String {
    let export = match role {
        Role::HttpHandler => "incomingHandler",
        Role::RateLimiter => "rateLimiter",
        Role::Cache => "caching",
        _ => role.name(),
    };
    let mut text =
        "// Gives the plugin its host. What stands in plugin.js can be tested without one.\n\n"
            .to_owned();
    let mut host = imports(role).to_vec();
    for interface in &host {
        text += &format!("import * as {interface} from \"zlayer:plugin/{interface}@0.1.0\";\n");
    }
    if role == Role::HttpHandler {
        host.push("http");
        text += "import * as http from \"wasi:http/types@0.2.12\";\n";
    }
    let host = host.join(", ");
    text += &format!(
        "import {{ plugin }} from \"./plugin.js\";\n\nexport const {export} = plugin({{ {host} }});\n"
    );
    text
}
