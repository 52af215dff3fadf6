//! `cargo bench -p zlayer-tests --bench figures`: all benchmarks, recorded.

fn main() -> std::process::ExitCode {
    zlayer_bench::figures()
}
