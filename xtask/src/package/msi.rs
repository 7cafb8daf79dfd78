//! The package for Windows, made on Linux: built with mingw-w64, packed with wixl.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use super::{
    PARTS, PROGRAMS, PackageArgs, WINDOW, build_window, check_size, compare, epoch, metadata,
    notices, papers, recipe, sbom, target_folder, workspace_version,
};
use crate::process::{cargo, output, run, say};
use crate::test::tools;
use crate::workspace::Workspace;

/// Builds the programs and packs them twice: both packages must be the same, byte by byte.
///
/// # Errors
/// Says which tool is missing, which program needs a foreign library, or that something differs.
pub(crate) fn make(args: &PackageArgs, workspace: &Workspace) -> anyhow::Result<()> {
    tools::rust_target(TARGET)?;
    build(args, workspace)?;
    build_window(args, workspace, TARGET, Some(TARGET))?;
    let folder = workspace.target().join("package/windows");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let files = folder.join("files");
    fs::create_dir_all(&files)?;
    let metadata = sbom::merge(
        metadata(workspace.root(), TARGET)?,
        metadata(&workspace.root().join(WINDOW), TARGET)?,
    );
    let version = match &args.version {
        Some(version) => version.clone(),
        None => workspace_version(&metadata)?,
    };
    stage_programs(args, workspace, &files)?;
    stage_driver(workspace, &files)?;
    let parts = sbom::parts(&metadata, &PARTS);
    fs::write(files.join("THIRD-PARTY.txt"), notices::collect(&parts))?;
    let bill = sbom::bill(&metadata, &PARTS, &version);
    fs::write(files.join("ztna.cdx.json"), format!("{bill:#}\n"))?;
    fs::copy(workspace.root().join("LICENSE"), files.join("LICENSE.txt"))?;
    let completion = papers::completion(&papers::own_programs(workspace)?, "powershell")?;
    fs::write(files.join("ztna-completion.ps1"), completion)?;
    let script = workspace.root().join("installers/windows/ztna.wxs");
    fs::copy(script, files.join("ztna.wxs"))?;

    let seconds = format!("@{}", epoch(workspace)?);
    run(Command::new("sh")
        .args(["-c", r#"touch --date="$1" *"#, "sh", &seconds])
        .current_dir(&files))?;
    let mut date = Command::new("date");
    let time = output(date.args(["--utc", "--date", &seconds, "+%Y-%m-%d %H:%M:%S"]))
        .context("date does not work")?;
    let time = time.trim();
    let name = format!("ztna-{version}-x64.msi");
    let packed = [folder.join("first.msi"), folder.join("second.msi")];
    for package in &packed {
        pack(&files, package, &version, time)?;
    }
    let [first, second] = packed;
    compare(&first, &second)?;
    fs::remove_file(second)?;
    let made = workspace.target().join("package").join(name);
    fs::rename(first, &made)?;
    say(&format!(
        "made {} ({} bytes), not signed",
        made.display(),
        fs::metadata(&made)?.len()
    ));
    Ok(())
}

fn build(args: &PackageArgs, workspace: &Workspace) -> anyhow::Result<()> {
    let mut build = cargo();
    build
        .args(["build", "--locked", "--target", TARGET])
        .current_dir(workspace.root());
    if !args.debug {
        build.arg("--release");
        recipe::follow(&mut build, workspace, TARGET)?;
        build.env("CARGO_TARGET_DIR", recipe::folder(workspace));
    }
    for part in PARTS.iter().filter(|part| **part != "connector-window") {
        build.args(["--package", part]);
    }
    run(&mut build)
}

fn stage_programs(args: &PackageArgs, workspace: &Workspace, files: &Path) -> anyhow::Result<()> {
    let profile = if args.debug { "debug" } else { "release" };
    let target = target_folder(args, workspace);
    for program in PROGRAMS {
        let target = match program {
            "ztna-window" => &target.join("window"),
            _ => &target,
        };
        let built = target.join(TARGET).join(profile);
        let name = format!("{program}.exe");
        let stripped = files.join(&name);
        fs::copy(built.join(&name), &stripped)?;
        run(Command::new("x86_64-w64-mingw32-strip").arg(&stripped))?;
        let imports = output(
            Command::new("x86_64-w64-mingw32-objdump")
                .arg("-p")
                .arg(&stripped),
        )
        .with_context(|| format!("{name} is no program for Windows"))?;
        if let Some(library) = foreign_library(&imports) {
            bail!("{name} needs {library}, which Windows does not have");
        }
        if has_console(&imports) == WINDOWED.contains(&program) {
            bail!("{name} is built for the wrong subsystem: look for `windows_subsystem`");
        }
    }
    check_size(&files.join("ztnad.exe"), args)
}

/// Fetches the driver's library, which its makers have signed, out of the crate that carries it.
fn stage_driver(workspace: &Workspace, files: &Path) -> anyhow::Result<()> {
    let folder = workspace.target().join("tools/wintun");
    let library = folder.join(format!("{WINTUN}/wintun/bin/amd64/wintun.dll"));
    if !library.exists() {
        fs::create_dir_all(&folder)?;
        say(&format!("fetching {WINTUN} from crates.io: wintun.dll"));
        let crated = folder.join("wintun.crate");
        let url = format!("https://static.crates.io/crates/wintun/{WINTUN}.crate");
        run(Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--fail",
                "--location",
                "--output",
            ])
            .arg(&crated)
            .arg(url))?;
        run(Command::new("tar")
            .arg("xzf")
            .arg(&crated)
            .arg("-C")
            .arg(&folder))?;
    }
    let sum = output(Command::new("sha256sum").arg(&library)).unwrap_or_default();
    if !sum.starts_with(WINTUN_SHA256) {
        bail!(
            "{} is not the one that was looked at (its sum is {sum:?}); remove {} and try again",
            library.display(),
            folder.display()
        );
    }
    fs::copy(library, files.join("wintun.dll"))?;
    let licence = folder.join(format!("{WINTUN}/wintun/LICENSE.txt"));
    fs::copy(licence, files.join("WINTUN-LICENSE.txt"))?;
    Ok(())
}

/// At `time` the clock stands still: wixl writes it into the package.
fn pack(files: &Path, package: &Path, version: &str, time: &str) -> anyhow::Result<()> {
    // One for each version and content: Windows takes packages of one code for the same.
    let content = output(
        Command::new("sh")
            .args(["-c", "cat * | sha256sum"])
            .current_dir(files),
    )
    .context("sha256sum does not work")?;
    let product = identifier(&content, 'a')?;
    let code = identifier(&content, 'b')?;
    let mut wixl = at(time);
    run(wixl
        .args(["wixl", "--arch", "x64"])
        .args(["-D", &format!("Version={version}")])
        .args(["-D", &format!("ProductCode={product}")])
        .arg("-o")
        .arg(package)
        .arg("ztna.wxs")
        .current_dir(files))?;
    let mut summary = at(time);
    run(summary
        .arg("msibuild")
        .arg(package)
        .args(["-s", "ZTNA Connector", "ZTNA Connector", "x64;1033"])
        .arg(format!("{{{code}}}")))?;
    // What wixl has no words for: the command on everybody's path.
    let mut path = at(time);
    run(path.arg("msibuild").arg(package).arg("-q").args(PATH))
}

fn at(time: &str) -> Command {
    let mut command = Command::new("faketime");
    command.args(["-f", time]).env("TZ", "UTC");
    command
}

/// Makes an identifier out of a hash.
fn identifier(hash: &str, kind: char) -> anyhow::Result<String> {
    let part = |from: usize, to: usize| hash.get(from..to).context("the hash is too short");
    Ok(format!(
        "{kind}{}-{}-4{}-8{}-{}",
        part(0, 7)?,
        part(7, 11)?,
        part(11, 14)?,
        part(14, 17)?,
        part(17, 29)?
    )
    .to_uppercase())
}

/// Returns a library that is neither the system's nor a part of it.
fn foreign_library(imports: &str) -> Option<String> {
    imports
        .lines()
        .filter_map(|line| line.trim().strip_prefix("DLL Name: "))
        .map(str::to_lowercase)
        .find(|name| !name.starts_with("api-ms-win-") && !SYSTEM_LIBRARIES.contains(&name.as_str()))
}

const TARGET: &str = "x86_64-pc-windows-gnu";

const WINTUN: &str = "wintun-0.5.1";

/// Of Wintun 0.14.1 for amd64, as wintun.net publishes it.
const WINTUN_SHA256: &str = "e5da8447dc2c320edc0fc52fa01885c103de8c118481f683643cacc3220dafce";

/// Statements of the installer's database.
const PATH: [&str; 4] = [
    "CREATE TABLE `Environment` (`Environment` CHAR(72) NOT NULL, `Name` CHAR(255) NOT NULL LOCALIZABLE, \
     `Value` CHAR(255) LOCALIZABLE, `Component_` CHAR(72) NOT NULL PRIMARY KEY `Environment`)",
    "INSERT INTO `Environment` (`Environment`, `Name`, `Value`, `Component_`) \
     VALUES ('Path', '=-*PATH', '[~];[INSTALLDIR]', 'Programs')",
    "INSERT INTO `InstallExecuteSequence` (`Action`, `Sequence`) VALUES ('WriteEnvironmentStrings', 5200)",
    "INSERT INTO `InstallExecuteSequence` (`Action`, `Sequence`) VALUES ('RemoveEnvironmentStrings', 3300)",
];

/// Returns whether Windows opens a console for the program.
fn has_console(headers: &str) -> bool {
    headers.contains("(Windows CUI)")
}

/// What a desktop starts, and nobody in a console.
const WINDOWED: [&str; 2] = ["ztna-tray", "ztna-window"];

/// What every Windows 10 has.
const SYSTEM_LIBRARIES: [&str; 30] = [
    "advapi32.dll",
    "bcrypt.dll",
    "bcryptprimitives.dll",
    "cfgmgr32.dll",
    "combase.dll",
    "comctl32.dll",
    "crypt32.dll",
    "dnsapi.dll",
    "dwmapi.dll",
    "fwpuclnt.dll",
    "gdi32.dll",
    "imm32.dll",
    "iphlpapi.dll",
    "kernel32.dll",
    "msvcrt.dll",
    "ntdll.dll",
    "ole32.dll",
    "oleaut32.dll",
    "opengl32.dll",
    "propsys.dll",
    "rpcrt4.dll",
    "secur32.dll",
    "setupapi.dll",
    "shell32.dll",
    "shlwapi.dll",
    "uiautomationcore.dll",
    "user32.dll",
    "userenv.dll",
    "uxtheme.dll",
    "ws2_32.dll",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compilers_libraries_are_foreign_and_the_systems_are_not() {
        let systems = "\tDLL Name: KERNEL32.dll\n\tDLL Name: api-ms-win-core-synch-l1-2-0.dll\n";

        assert_eq!(foreign_library(systems), None);
        assert_eq!(
            foreign_library(&format!("{systems}\tDLL Name: libgcc_s_seh-1.dll\n")).as_deref(),
            Some("libgcc_s_seh-1.dll")
        );
    }

    #[test]
    fn the_tray_that_a_login_starts_knows_it_everywhere() {
        for starts_it in [
            include_str!("../../../installers/linux/ztna-tray.desktop"),
            include_str!("../../../installers/macos/ztna-tray.plist"),
            include_str!("../../../installers/windows/ztna.wxs"),
        ] {
            assert!(starts_it.contains("--at-login"), "{starts_it}");
        }
    }

    #[test]
    fn identifiers_follow_from_the_content() {
        let hash = "0123456789abcdef0123456789abcdef";

        assert_eq!(
            identifier(hash, 'a').unwrap(),
            "A0123456-789A-4BCD-8EF0-123456789ABC"
        );
        assert!(identifier("0123", 'a').is_err());
    }
}
