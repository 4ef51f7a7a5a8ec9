//! The same program as kubectl finds it: `kubectl nettoll`.

fn main() -> std::process::ExitCode {
    nettoll_cli::main()
}
