//! The process that is killed, alone: what planted bugs are built into.

fn main() -> std::process::ExitCode {
    fchannel_torture::role::main()
}
