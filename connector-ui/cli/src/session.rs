//! Signing in and out, switching on and off, and who it is.

use connector_client::browser::{Opener, WebPage};
use connector_client::{ONE_SIGN_IN, Replies, Service, ServiceError};
use connector_ipc::{Identity, Reply, Request, Standing};
use serde_json::json;

use crate::command::{DownArgs, Format, LoginArgs};
use crate::exit::{Exit, Failure};
use crate::output::Printer;
use crate::table::Table;
use crate::text::{self, Screen, paragraph};
use crate::time;

/// Signs in, until the person is done, gives up or takes too long.
pub(crate) async fn login(
    service: &Service,
    args: &LoginArgs,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let identity = tokio::select! {
        outcome = sign_in(service, args, printer) => outcome?,
        Ok(()) = tokio::signal::ctrl_c() => return Err(Failure::Interrupted),
    };
    printer.print(&render_signed_in(&identity, printer.screen()))?;
    let is_paused = tokio::select! {
        is_paused = is_paused(service) => is_paused,
        Ok(()) = tokio::signal::ctrl_c() => false,
    };
    if is_paused {
        printer.print("Still switched off; run `ztna up`.\n")?;
    }
    Ok(Exit::Success)
}

/// Signs out.
pub(crate) async fn logout(service: &Service, printer: &Printer) -> Result<Exit, Failure> {
    service.order(&Request::Logout).await?;
    let text = "Signed out. Protected applications cannot be reached until `ztna login`.";
    printer.print(&paragraph("", text, printer.screen()))?;
    Ok(Exit::Success)
}

/// Switches on.
pub(crate) async fn up(service: &Service, printer: &Printer) -> Result<Exit, Failure> {
    service.order(&Request::Up).await?;
    printer.print("Switched on.\n")?;
    Ok(Exit::Success)
}

/// Switches off.
pub(crate) async fn down(
    service: &Service,
    args: &DownArgs,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let seconds = args.seconds;
    let reason = args.reason.clone();
    service.order(&Request::Down { seconds, reason }).await?;
    let screen = printer.screen();
    let text = match (ends(service).await, seconds) {
        // The administrator may have set a limit.
        (Some(until), _) => format!(
            "Switched off. Protected applications cannot be reached until {}, or until `ztna up`.",
            time::with_distance(&until, screen.now)
        ),
        (None, None) => {
            "Switched off. Protected applications cannot be reached until `ztna up`.".to_owned()
        }
        (None, Some(seconds)) => format!(
            "Switched off. Protected applications cannot be reached for {}, or until `ztna up`.",
            text::seconds(seconds)
        ),
    };
    printer.print(&paragraph("", &text, screen))?;
    Ok(Exit::Success)
}

/// Shows who is signed in.
pub(crate) async fn whoami(
    service: &Service,
    format: Format,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let Reply::Identity(identity) = service.ask(&Request::Whoami).await? else {
        return Err(ServiceError::Unexpected.into());
    };
    match format.json {
        true => printer.json("ztna.whoami/1", json!(identity))?,
        false => printer.print(&render_identity(&identity, printer.screen()))?,
    }
    Ok(Exit::Success)
}

/// Returns the name that people know the person by, with the address if there is one.
pub(crate) fn display_name(identity: &Identity) -> String {
    match (&identity.name, &identity.email) {
        (Some(name), Some(email)) => format!("{name} <{email}>"),
        (Some(name), None) => name.clone(),
        (None, Some(email)) => email.clone(),
        (None, None) => identity.subject.clone(),
    }
}

async fn sign_in(
    service: &Service,
    args: &LoginArgs,
    printer: &Printer,
) -> Result<Identity, Failure> {
    let request = match &args.step_up {
        Some(target) => Request::StepUp {
            host: target.host.clone(),
            port: target.port,
        },
        None => Request::Login,
    };
    let mut replies = service.open(&request, ONE_SIGN_IN).await?;
    let mut page = match next_step(&mut replies).await? {
        // Signed in already, or the provider asked nothing.
        Step::SignedIn(identity) => return Ok(identity),
        Step::Page(page) => page,
    };
    show(&page, args, printer)?;
    loop {
        let step = next_step(&mut replies).await.map_err(|failure| {
            if let Failure::Service(ServiceError::TimedOut(seconds)) = failure {
                Failure::SignInTimedOut(seconds)
            } else {
                failure
            }
        })?;
        match step {
            Step::SignedIn(identity) => return Ok(identity),
            Step::Page(same) if same == page => {}
            Step::Page(other) => {
                let url = other.as_str();
                printer.insist(&format!("The page has changed. Sign in at\n  {url}\n"))?;
                page = other;
            }
        }
    }
}

/// What a sign-in asks for next.
enum Step {
    Page(WebPage),
    SignedIn(Identity),
}

async fn next_step(replies: &mut Replies) -> Result<Step, Failure> {
    match replies.next().await? {
        Reply::Identity(identity) => Ok(Step::SignedIn(identity)),
        Reply::SignInPage { url } => {
            let page = WebPage::new(url).ok_or(Failure::UnsafePage)?;
            Ok(Step::Page(page))
        }
        Reply::Access(_)
        | Reply::AccessRequest(_)
        | Reply::AccessRequests(_)
        | Reply::Decision(_)
        | Reply::Delegation(_)
        | Reply::Delegations(_)
        | Reply::Diagnosis(_)
        | Reply::Done
        | Reply::Elevation(_)
        | Reply::Elevations(_)
        | Reply::Failed(_)
        | Reply::LogLines { .. }
        | Reply::Overridden(_)
        | Reply::OverrideChallenge(_)
        | Reply::PolicyCommit(_)
        | Reply::PolicyLog(_)
        | Reply::PolicyReplay(_)
        | Reply::PolicyTest(_)
        | Reply::PolicyText { .. }
        | Reply::Posture(_)
        | Reply::Resources(_)
        | Reply::Settings(_)
        | Reply::Status(_)
        | Reply::Welcome(_) => Err(ServiceError::Unexpected.into()),
    }
}

/// Opens the page if that is wanted and possible, and prints its address.
fn show(page: &WebPage, args: &LoginArgs, printer: &Printer) -> Result<(), Failure> {
    let opener = match args.no_browser {
        true => None,
        false => Opener::find(),
    };
    let url = page.as_str();
    match opener.map(|opener| opener.open(page)) {
        Some(Ok(())) => printer.print(&format!(
            "Your browser opens. If it does not, sign in at\n  {url}\n"
        ))?,
        Some(Err(error)) => printer.insist(&format!(
            "Your browser cannot be opened ({error}). Sign in at\n  {url}\n"
        ))?,
        None => printer.insist(&format!("Sign in at\n  {url}\n"))?,
    }
    let text = "Waiting until you have signed in; Ctrl-C gives up.";
    printer.print(&paragraph("", text, printer.screen()))
}

/// When the connector switches itself on again, if that is known.
async fn ends(service: &Service) -> Option<String> {
    match service.ask(&Request::Status { follow: false }).await {
        Ok(Reply::Status(status)) => status.paused_until,
        Ok(_) | Err(_) => None,
    }
}

/// Whether the connector is known to be switched off.
async fn is_paused(service: &Service) -> bool {
    let reply = service.ask(&Request::Status { follow: false }).await;
    matches!(reply, Ok(Reply::Status(status)) if status.standing == Standing::Paused)
}

fn render_signed_in(identity: &Identity, screen: Screen) -> String {
    let text = format!(
        "Signed in as {}. The session ends {}.",
        display_name(identity),
        time::with_distance(&identity.expires_at, screen.now),
    );
    paragraph("", &text, screen)
}

fn render_identity(identity: &Identity, screen: Screen) -> String {
    let mut table = Table::default();
    table.field("Name", display_name(identity));
    table.field("Subject", &identity.subject);
    if !identity.groups.is_empty() {
        table.field("Groups", identity.groups.join(", "));
    }
    table.field("Provider", &identity.issuer);
    table.field(
        "Session ends",
        time::with_distance(&identity.expires_at, screen.now),
    );
    table.field("Session", &identity.session_id);
    table.render(screen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_shown_with_what_the_provider_said() {
        assert_eq!(
            render_identity(&alice(), SCREEN),
            "\
Name          Alice <alice@corp.test>
Subject       u-1
Groups        staff, wiki-readers
Provider      https://idp.corp.test
Session ends  2026-11-22 18:00:00 UTC (in 8 h 0 min)
Session       s-1
"
        );
        assert_eq!(
            render_signed_in(&alice(), SCREEN),
            "Signed in as Alice <alice@corp.test>. The session ends 2026-11-22 18:00:00 UTC (in 8 h 0 min).\n"
        );
    }

    #[test]
    fn the_best_name_there_is_is_used() {
        let mut identity = alice();
        identity.email = None;
        assert_eq!(display_name(&identity), "Alice");
        identity.name = None;
        assert_eq!(display_name(&identity), "u-1");
    }

    const SCREEN: Screen = Screen {
        width: usize::MAX,
        color: false,
        now: 1_795_341_600,
    };

    fn alice() -> Identity {
        Identity {
            subject: "u-1".into(),
            name: Some("Alice".into()),
            email: Some("alice@corp.test".into()),
            groups: vec!["staff".into(), "wiki-readers".into()],
            issuer: "https://idp.corp.test".into(),
            session_id: "s-1".into(),
            expires_at: "2026-11-22T18:00:00Z".into(),
        }
    }
}
