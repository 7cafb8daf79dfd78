//! Walks the lab's login page, as a person with a browser would.

use std::net::SocketAddr;

use anyhow::{Context, ensure};

use super::client;

/// Follows `url`, signs in as `login` and goes back to where the provider sends.
pub(super) fn walk(url: &str, login: &str) -> anyhow::Result<()> {
    let page = get(url)?;
    ensure!(
        page.status == 200,
        "the login page is answered with {}",
        page.status
    );
    let cookie = page
        .header("set-cookie")
        .and_then(|cookie| cookie.split(';').next())
        .context("the login page sets no cookie")?
        .to_owned();
    let form = format!(
        "interaction={}&csrf={}&login={login}&password=demo&action=sign-in",
        hidden(&page.body, "interaction")?,
        hidden(&page.body, "csrf")?,
    );

    let (address, _) = split(url)?;
    let action = between(&page.body, "action=\"", "\"").context("the login page has no form")?;
    let request = format!(
        "POST {action} HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\nOrigin: http://{address}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
        form.len()
    );
    let answer = client::ask(address, &request, &form)?;
    let back = answer.header("location").with_context(|| {
        format!(
            "the login was answered with {}: {}",
            answer.status, answer.body
        )
    })?;
    let end = get(back)?;
    ensure!(
        end.status == 200,
        "the way back is answered with {}",
        end.status
    );
    Ok(())
}

fn get(url: &str) -> anyhow::Result<client::Response> {
    let (address, path) = split(url)?;
    client::ask(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n"),
        "",
    )
}

fn split(url: &str) -> anyhow::Result<(SocketAddr, &str)> {
    let rest = url.strip_prefix("http://").context("only http is walked")?;
    let (address, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    Ok((
        address
            .parse()
            .with_context(|| format!("{url} is not on this machine"))?,
        path,
    ))
}

fn hidden<'a>(page: &'a str, name: &str) -> anyhow::Result<&'a str> {
    between(page, &format!("name=\"{name}\" value=\""), "\"")
        .with_context(|| format!("the login page has no field {name}"))
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?
        .1
        .split_once(after)
        .map(|(found, _)| found)
}
