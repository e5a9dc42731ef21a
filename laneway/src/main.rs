//! `laneway`: the roles, and the operator's commands.

mod config;
mod roles;
mod secrets;

fn main() -> anyhow::Result<()> {
    if std::env::args().nth(2).as_deref() == Some("env") {
        print!("{}", config::env_example::generate()?);
        return Ok(());
    }
    let config = config::Config::load(None)?;
    println!("{config:?} {}", config::keys::DEFAULTS.len());
    Ok(())
}
