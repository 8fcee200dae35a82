//! Counting under valgrind.

use std::error::Error;
use std::process::Command;

pub const RUN: &str = "run";

/// Rounds of the shorter run. The longer one is twice as long: what happens once falls out of the difference.
const ROUNDS: u64 = 4;

/// The instructions of one operation.
pub fn per_operation(name: &str) -> Result<f64, Box<dyn Error>> {
    let (short, few) = count(name, ROUNDS)?;
    let (long, many) = count(name, 2 * ROUNDS)?;
    let operations = many.checked_sub(few).filter(|difference| *difference != 0);
    let instructions = long.checked_sub(short).filter(|difference| *difference != 0);
    match instructions.zip(operations) {
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        Some((instructions, operations)) => Ok(instructions as f64 / operations as f64),
        None => Err(format!("{name}: twice the rounds were not more work ({short}, {long})").into()),
    }
}

/// Instructions and operations of so many rounds.
fn count(name: &str, rounds: u64) -> Result<(u64, u64), Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg("--toggle-collect=*fabric_mq_counted*")
        .arg(std::env::current_exe()?)
        .args([RUN, name, &rounds.to_string()])
        // What is in the environment moves the stack.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .output()
        .map_err(|error| format!("valgrind cannot be started: {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(format!("{name}: {told}").into());
    }
    let instructions =
        collected(&told).ok_or_else(|| format!("{name}: valgrind did not say what it counted: {told}"))?;
    Ok((instructions, String::from_utf8(output.stdout)?.trim().parse()?))
}

/// The figure of the line `==1234== Collected : 5678`.
fn collected(told: &str) -> Option<u64> {
    told.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figure_is_found() {
        let told =
            "==7== Callgrind, a call-graph profiler\n==7== \n==7== Events    : Ir\n==7== Collected : 123456\n==7==\n";
        assert_eq!(collected(told), Some(123_456));
        assert_eq!(collected("==7== Collected :\n"), None);
        assert_eq!(collected(""), None);
    }
}
