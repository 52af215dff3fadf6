//! `cargo bench -p zlayer-tests --bench serve`

fn main() -> std::process::ExitCode {
    zlayer_bench::serve()
}
