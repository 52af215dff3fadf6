//! `cargo bench -p zlayer-tests --bench calls`

fn main() -> std::process::ExitCode {
    zlayer_bench::calls()
}
