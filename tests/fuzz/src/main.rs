//! `fuzz TARGET SECONDS [SEED]`: looks for inputs that break a target, and keeps them in its corpus.

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fs, io};

use fuzz::{Mutator, TARGETS};

#[expect(clippy::print_stdout, reason = "it tells what it found")]
fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    let target = arguments
        .first()
        .and_then(|name| TARGETS.iter().find(|target| target.name == name));
    let (Some(target), Some(seconds)) = (target, number(1)) else {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        println!("usage: fuzz {} SECONDS [SEED]", names.join("|"));
        return Ok(ExitCode::from(2));
    };
    let seed = number(2).unwrap_or_else(|| u64::from(std::process::id()));
    println!("{}: seed {seed}", target.name);

    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target.name);
    let corpus: Vec<Vec<u8>> = files(&folder)?
        .iter()
        .map(fs::read)
        .collect::<io::Result<_>>()?;
    let mut mutator = Mutator::new(seed);
    let (end, mut tried, mut broken) = (Instant::now() + Duration::from_secs(seconds), 0_u64, 0);
    while Instant::now() < end {
        let (one, other) = (
            &corpus[mutator.below(corpus.len())],
            &corpus[mutator.below(corpus.len())],
        );
        let input = mutator.mutate(one, other);
        tried += 1;
        if catch_unwind(|| (target.run)(&input)).is_err() {
            broken += 1;
            let path = folder.join(format!("broke-{seed}-{tried}"));
            fs::write(&path, &input)?;
            println!("broken by {}", path.display());
        }
    }
    println!("{}: {tried} inputs, {broken} broke it", target.name);
    Ok(if broken == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?;
    let mut files: Vec<PathBuf> = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()?;
    files.sort();
    Ok(files)
}
