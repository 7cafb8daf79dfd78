//! `cargo xtask package`: what people install, from the binaries to `.deb`, `.rpm` and `.msi`.

mod deb;
mod elf;
mod msi;
mod notices;
mod papers;
mod recipe;
mod rpm;
mod sbom;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;

use self::tree::Tree;
use crate::process::{cargo, output, run, say};
use crate::workspace::Workspace;

/// Makes packages for Linux, or the one for Windows
#[derive(Args, Debug)]
pub(crate) struct PackageArgs {
    /// Makes the .msi, on Linux; needs mingw-w64, wixl, msitools, faketime, curl
    #[arg(long, conflicts_with = "trial")]
    windows: bool,

    /// Writes manual pages, completions, licences and the bill of materials for macOS into a folder that stands for the
    /// machine's root, and makes no package: `installers/macos/build.sh` does the rest
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["windows", "trial", "debug", "version"])]
    macos_papers: Option<PathBuf>,

    /// Packages unoptimised binaries, marked as such: for trying the packages, not for people
    #[arg(long)]
    debug: bool,

    /// Gives the packages this version instead of the workspace's: for trying upgrades
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,

    /// Takes the packages through their lives in a clean Debian with systemd; needs root, mmdebstrap and a mirror
    #[arg(long = "try")]
    trial: bool,
}

/// What all packages are made from.
#[derive(Debug)]
pub(crate) struct Making {
    /// The packages' version.
    version: String,
    /// Seconds since 1970 that everything in the packages bears, so that the same sources give the same bytes.
    epoch: u64,
    /// Where the repository is.
    root: PathBuf,
    /// Where to work.
    folder: PathBuf,
    /// The built programs.
    binaries: PathBuf,
    /// What `cargo metadata` says for this system.
    metadata: Value,
    /// The packages of Debian with the libraries that the programs ask for.
    libraries: String,
    /// How `dpkg-deb` compresses.
    compression: &'static str,
}

/// Builds, checks what was built, and packages it twice to see that nothing depends on the moment.
///
/// # Errors
/// Says what is too large, linked to a foreign library or not reproducible, and which tool is missing.
pub(crate) fn make(args: &PackageArgs) -> anyhow::Result<()> {
    let workspace = Workspace::locate()?;
    if let Some(root) = &args.macos_papers {
        return papers::write_macos(&workspace, root);
    }
    if args.windows {
        return msi::make(args, &workspace);
    }
    let making = prepare(args, &workspace)?;
    let made = build_all(&making)?;
    if args.trial
        && let Trial::NotHere = live(&workspace, &made, &making.folder)?
    {
        bail!("the packages were not tried: what this machine lacks stands above");
    }
    for package in made {
        let size = fs::metadata(&package)?.len();
        say(&format!("made {} ({size} bytes)", package.display()));
    }
    Ok(())
}

/// What became of a package's life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Trial {
    /// This machine cannot hold a small machine; what it lacks was said.
    NotHere,
    /// It lived, and left nothing behind.
    Lived,
}

/// Makes the `.deb`, and the `.rpm` where that is possible.
fn build_all(making: &Making) -> anyhow::Result<Vec<PathBuf>> {
    let tree = Tree::stage(making)?;
    let mut made = vec![twice(making, &tree, "deb", deb::build)?];
    if rpm::is_possible() {
        made.push(twice(making, &tree, "rpm", rpm::build)?);
    } else {
        say("no .rpm: rpmbuild is not installed (Debian: `apt-get install rpm`)");
    }
    Ok(made)
}

/// Makes the packages of unoptimised programs, and takes them through their lives.
///
/// # Errors
/// Says what went wrong with making it, or in its life.
pub(crate) fn try_packages(workspace: &Workspace) -> anyhow::Result<Trial> {
    let args = PackageArgs {
        windows: false,
        macos_papers: None,
        debug: true,
        version: None,
        trial: true,
    };
    let making = prepare(&args, workspace)?;
    let made = build_all(&making)?;
    live(workspace, &made, &making.folder)
}

/// Has the packages installed, upgraded and removed in a small machine.
fn live(workspace: &Workspace, packages: &[PathBuf], folder: &Path) -> anyhow::Result<Trial> {
    run(cargo()
        .args(["build", "--locked", "--workspace", "--bins"])
        .current_dir(workspace.root()))?;
    let script = workspace.root().join("installers/linux/try.sh");
    let status = std::process::Command::new(&script)
        .arg(workspace.target().join("debug/ztna-lab"))
        .arg(folder.join("try"))
        .args(packages)
        .stdin(std::process::Stdio::null())
        .status()
        .with_context(|| format!("cannot start {}", script.display()))?;
    match status.code() {
        Some(0) => Ok(Trial::Lived),
        Some(NOT_HERE) => Ok(Trial::NotHere),
        _ => bail!("{} ended with {status}", script.display()),
    }
}

/// By this exit code `try.sh` says that it could not begin (`EX_UNAVAILABLE` of sysexits.h).
const NOT_HERE: i32 = 69;

fn prepare(args: &PackageArgs, workspace: &Workspace) -> anyhow::Result<Making> {
    let host = host()?;
    let mut build = cargo();
    build
        .args(["build", "--locked"])
        .current_dir(workspace.root());
    if args.debug {
        // As everything else here is built, so that nothing is compiled anew.
        build.args(["--workspace", "--bins"]);
    } else {
        build.args(["--release", "--package", "connector-service"]);
        build.args(["--package", "connector-cli", "--package", "connector-ui"]);
        recipe::follow(&mut build, workspace, &host)?;
        build.env("CARGO_TARGET_DIR", recipe::folder(workspace));
    }
    run(&mut build)?;
    build_window(args, workspace, &host, None)?;
    let kind = if args.debug { "debug" } else { "release" };
    let built = target_folder(args, workspace).join(kind);
    let window = target_folder(args, workspace).join("window").join(kind);
    let metadata = sbom::merge(
        metadata(workspace.root(), &host)?,
        metadata(&workspace.root().join(WINDOW), &host)?,
    );
    let mut version = match &args.version {
        Some(version) => version.clone(),
        None => workspace_version(&metadata)?,
    };
    if args.debug {
        version.push_str("~debug");
    }
    let folder = workspace.target().join("package");
    // What an earlier run left would be packaged again.
    if folder.join("work").exists() {
        fs::remove_dir_all(folder.join("work"))?;
    }
    let binaries = folder.join("work/bin");
    fs::create_dir_all(&binaries)?;
    let mut libc = String::new();
    for program in PROGRAMS {
        let folder = match program {
            "ztna-window" => &window,
            _ => &built,
        };
        let stripped = binaries.join(program);
        fs::copy(folder.join(program), &stripped)?;
        run(std::process::Command::new("strip")
            .arg("--strip-all")
            .arg(&stripped))?;
        libc = libc.max(elf::check(&stripped, args.debug)?);
    }
    check_size(&binaries.join("ztnad"), args)?;
    Ok(Making {
        version,
        epoch: epoch(workspace)?,
        root: workspace.root().to_owned(),
        folder,
        binaries,
        metadata,
        libraries: libraries(&libc, args.debug),
        // For people small, for trying soon.
        compression: if args.debug { "gzip" } else { "xz" },
    })
}

/// Returns the packages of Debian that programs for this version of libc need.
fn libraries(libc: &str, share_unwinder: bool) -> String {
    let unwinder = if share_unwinder { ", libgcc-s1" } else { "" };
    format!("libc6 (>= {libc}){unwinder}")
}

/// Says how large the service is.
///
/// # Errors
/// If a release is larger than it may be.
fn check_size(service: &Path, args: &PackageArgs) -> anyhow::Result<()> {
    let name = service.file_name().context("a program has a name")?;
    let size = fs::metadata(service)?.len();
    let name = name.display();
    say(&format!("{name} has {size} bytes, of {LARGEST_SERVICE}"));
    if size > LARGEST_SERVICE && !args.debug {
        bail!("{name} is too large: look at `cargo tree --duplicates` and at new dependencies");
    }
    Ok(())
}

/// Returns where the programs are built.
fn target_folder(args: &PackageArgs, workspace: &Workspace) -> PathBuf {
    if args.debug {
        workspace.target().to_owned()
    } else {
        recipe::folder(workspace)
    }
}

/// Builds the window, which is a workspace of its own, for this machine or for `target`.
fn build_window(
    args: &PackageArgs,
    workspace: &Workspace,
    host: &str,
    target: Option<&str>,
) -> anyhow::Result<()> {
    let mut build = cargo();
    build
        .args(["build", "--locked"])
        .current_dir(workspace.root().join(WINDOW))
        .env(
            "CARGO_TARGET_DIR",
            target_folder(args, workspace).join("window"),
        );
    if !args.debug {
        build.arg("--release");
        recipe::follow(&mut build, workspace, target.unwrap_or(host))?;
    }
    if let Some(target) = target {
        build.args(["--target", target]);
    }
    run(&mut build)
}

/// Makes a package, and again elsewhere: both must be the same, byte by byte.
fn twice(
    making: &Making,
    tree: &Tree,
    kind: &str,
    build: fn(&Making, &Tree, &Path) -> anyhow::Result<PathBuf>,
) -> anyhow::Result<PathBuf> {
    let [first, second] = ["first", "second"].map(|run| making.folder.join("work").join(run));
    let (first, second) = (
        build(making, tree, &first.join(kind))?,
        build(making, tree, &second.join(kind))?,
    );
    compare(&first, &second)?;
    let name = first.file_name().context("a package has a name")?;
    let made = making.folder.join(name);
    fs::copy(&first, &made)?;
    Ok(made)
}

/// Refuses two packages of the same files that differ.
fn compare(first: &Path, second: &Path) -> anyhow::Result<()> {
    if fs::read(first)? != fs::read(second)? {
        bail!(
            "{} and {} were made from the same files and differ: `diffoscope` tells where",
            first.display(),
            second.display()
        );
    }
    Ok(())
}

fn host() -> anyhow::Result<String> {
    output(std::process::Command::new("rustc").arg("-vV"))
        .and_then(|text| {
            let host = text.lines().find_map(|line| line.strip_prefix("host: "))?;
            Some(host.to_owned())
        })
        .context("rustc does not tell which system this is")
}

fn metadata(folder: &Path, target: &str) -> anyhow::Result<Value> {
    let text = output(
        cargo()
            .args(["metadata", "--locked", "--format-version", "1"])
            .args(["--filter-platform", target])
            .current_dir(folder),
    )
    .context("cargo does not describe the workspace")?;
    Ok(serde_json::from_str(&text)?)
}

fn workspace_version(metadata: &Value) -> anyhow::Result<String> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let mut versions = packages
        .filter(|package| package["name"] == "connector-service")
        .filter_map(|package| package["version"].as_str());
    Ok(versions
        .next()
        .context("the service has no version")?
        .to_owned())
}

/// `SOURCE_DATE_EPOCH`, else the time of the last commit.
fn epoch(workspace: &Workspace) -> anyhow::Result<u64> {
    let told = std::env::var("SOURCE_DATE_EPOCH").ok();
    let text = told.or_else(|| {
        output(
            std::process::Command::new("git")
                .args(["log", "-1", "--format=%ct"])
                .current_dir(workspace.root()),
        )
    });
    let text = text.context("set SOURCE_DATE_EPOCH: this is no git repository")?;
    text.trim()
        .parse()
        .with_context(|| format!("SOURCE_DATE_EPOCH is {text:?}, and no number of seconds"))
}

/// What is installed.
const PROGRAMS: [&str; 4] = ["ztnad", "ztna", "ztna-tray", "ztna-window"];

/// Where the window's workspace is.
const WINDOW: &str = "connector-ui/window";

/// The packages that they are built from.
const PARTS: [&str; 4] = [
    "connector-cli",
    "connector-service",
    "connector-ui",
    "connector-window",
];

/// The budget of the service's program, stripped.
const LARGEST_SERVICE: u64 = 15_000_000;
