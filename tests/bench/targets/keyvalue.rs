//! `cargo bench -p zlayer-tests --bench keyvalue`

fn main() -> std::process::ExitCode {
    zlayer_bench::keyvalue()
}
