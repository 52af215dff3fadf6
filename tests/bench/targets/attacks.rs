//! `cargo bench -p zlayer-tests --bench attacks`

fn main() -> std::process::ExitCode {
    zlayer_bench::attacks()
}
