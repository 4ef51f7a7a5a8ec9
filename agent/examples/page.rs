//! What the fullest page of an agent's metrics takes, for `cargo xtask bench controller`.

fn main() -> anyhow::Result<()> {
    Ok(nettoll_agent::fullest::run()?)
}
