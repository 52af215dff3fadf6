//! What WASI shows of the machine: `/env` (variables and arguments, one a
//! line), `/fs` (open folders, one a line), `/clock`, `/sleep?ms=N`, `/random`,
//! `/look-up?name=NAME` (its addresses, one a line).

mod wasi_view;

use probe::{Answer, Ask, Capabilities, Probe};

struct WasiProbe;

impl Probe for WasiProbe {
    const NAME: &'static str = "wasi-probe";
    const CAPABILITIES: Capabilities = Capabilities::empty();

    fn answer(ask: &Ask) -> Result<Answer, String> {
        let result = match ask.path.as_str() {
            "/env" => Ok(wasi_view::environment()),
            "/fs" => Ok(wasi_view::folders()),
            "/clock" => wasi_view::clocks(),
            "/sleep" => wasi_view::sleep(&ask.query),
            "/random" => wasi_view::random(),
            "/look-up" => wasi_view::look_up(&ask.query),
            _ => return ask.unknown(),
        };
        let (status, body) = match result {
            Ok(text) => (200, text),
            Err(text) => (500, text),
        };
        Ok(Answer { status, body })
    }
}

probe::export!(WasiProbe);
