//! `cargo bench -p zlayer-tests --bench pipeline`

fn main() -> std::process::ExitCode {
    zlayer_bench::pipeline()
}
