//! The program `nettoll`.

fn main() -> std::process::ExitCode {
    nettoll_cli::main()
}
