//! Turns the readings into a table of integers, and hands the linker the machine's memory maps.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

const CSV: &str = "../data/seattle-weather-hourly-normals.csv";
const HEADINGS: &str = "date,pressure,temperature,wind";

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={CSV}");

    let csv = fs::read_to_string(Path::new(&env::var("CARGO_MANIFEST_DIR")?).join(CSV))?;
    fs::write(out.join("readings.rs"), table(&csv)?)?;

    // Flash and RAM of the two machines, which also start them at address 0; of the RAM, how much plays a chip of NOR flash
    // in the program that has one; and the shape of that chip.
    let (ram, kept, segments, segment_bytes, machine) = match env::var("TARGET")?.as_str() {
        "thumbv6m-none-eabi" => (16, 5, 9, 512, "Cortex-M0, 16 KiB RAM"),
        "thumbv7m-none-eabi" => (64, 28, 24, 1024, "Cortex-M3, 64 KiB RAM"),
        other => return Err(format!("no machine is described for {other}").into()),
    };
    memory(&out, "fabric-mq-firmware", ram, 0)?;
    memory(&out, "fabric-mq-firmware-task", ram, 0)?;
    memory(&out, "fabric-mq-firmware-flash", ram, kept)?;
    fs::write(
        out.join("chip.rs"),
        format!(
            "/// Bytes of RAM that survive a reset.\npub const KEPT_BYTES: usize = {kept} * 1024;\n\
             /// Segments of the flash.\npub const SEGMENTS: usize = {segments};\n\
             /// Bytes of a segment.\npub const SEGMENT_BYTES: usize = {segment_bytes};\n"
        ),
    )?;
    println!("cargo::rustc-env=MACHINE={machine}");
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
    Ok(())
}

/// Writes one program's memory map, and tells the linker where it is. The last `kept` KiB of the RAM are not the linker's:
/// what no section lies in, neither the start-up code nor the emulator clears in a reset.
fn memory(out: &Path, program: &str, ram: u32, kept: u32) -> Result<(), Box<dyn Error>> {
    let folder = out.join(program);
    fs::create_dir_all(&folder)?;
    let used = ram - kept;
    fs::write(
        folder.join("memory.x"),
        format!(
            "MEMORY\n{{\n  FLASH : ORIGIN = 0x00000000, LENGTH = 256K\n  \
             RAM : ORIGIN = 0x20000000, LENGTH = {used}K\n}}\n_kept = ORIGIN(RAM) + LENGTH(RAM);\n"
        ),
    )?;
    println!("cargo::rustc-link-arg-bin={program}=-L{}", folder.display());
    Ok(())
}

/// The rows as `(hour, pressure, temperature, wind)`, the measured values in tenths of their unit.
fn table(csv: &str) -> Result<String, Box<dyn Error>> {
    let mut lines = csv.lines();
    if lines.next() != Some(HEADINGS) {
        return Err(format!("{CSV}: the first line is not {HEADINGS:?}").into());
    }
    let mut rows = String::new();
    let mut count = 0_usize;
    for (index, line) in lines.enumerate() {
        let row = row(line).ok_or_else(|| format!("{CSV}: line {}: {line:?}", index + 2))?;
        let (hour, pressure, temperature, wind) = row;
        writeln!(rows, "    ({hour}, {pressure}, {temperature}, {wind}),")?;
        count += 1;
    }
    Ok(format!("static TABLE: [(u16, i16, i16, i16); {count}] = [\n{rows}];\n"))
}

fn row(line: &str) -> Option<(u16, i16, i16, i16)> {
    let mut fields = line.split(',');
    let hour = hour_of_2010(fields.next()?)?;
    let pressure = tenths(fields.next()?)?;
    let temperature = tenths(fields.next()?)?;
    let wind = tenths(fields.next()?)?;
    match fields.next() {
        None => Some((hour, pressure, temperature, wind)),
        Some(_) => None,
    }
}

/// Hours since the year began, from `2010-MM-DDThh:00:00`.
fn hour_of_2010(text: &str) -> Option<u16> {
    const DAYS: [u16; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let (date, time) = text.strip_prefix("2010-")?.split_once('T')?;
    let (month, day) = date.split_once('-')?;
    let month = month.parse::<usize>().ok()?.checked_sub(1)?;
    let day = day.parse::<u16>().ok()?.checked_sub(1)?;
    let hour = time.strip_suffix(":00:00")?.parse::<u16>().ok()?;
    if day >= *DAYS.get(month)? || hour >= 24 {
        return None;
    }
    let before: u16 = DAYS.iter().take(month).sum();
    Some((before + day) * 24 + hour)
}

/// `12.3` as 123: exactly one decimal, as the source writes it.
fn tenths(text: &str) -> Option<i16> {
    let (whole, tenth) = text.split_once('.')?;
    if tenth.len() != 1 {
        return None;
    }
    let magnitude = format!("{whole}{tenth}");
    magnitude.parse().ok()
}
