//! Signing in, and every way in which it is refused.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    CALLBACK, CLIENT_ID, LoginPage, Provider, VERIFIER, authorization, changed, claims_of, client,
    find, json_of, location, post_form, query,
};

#[tokio::test]
async fn a_person_signs_in_and_the_id_token_says_who_it_is() {
    let provider = Provider::start().await;

    let page = LoginPage::open(&provider, &authorization(&[])).await;
    let (location, parameters) = page.submit(&provider, "alice", "sign-in").await;
    let code = find(&parameters, "code").unwrap();
    let response = provider.exchange(&code, &[]).await;

    assert!(location.starts_with(CALLBACK));
    assert_eq!(find(&parameters, "state").unwrap(), "the state");
    assert_eq!(find(&parameters, "iss").unwrap(), provider.url(""));
    assert_eq!(response.headers()["cache-control"], "no-store");
    let tokens = json_of(response).await;
    assert_eq!(tokens["token_type"], "Bearer");
    let claims = claims_of(tokens["id_token"].as_str().unwrap());
    for (name, value) in [
        ("iss", json!(provider.url(""))),
        ("aud", json!(CLIENT_ID)),
        ("sub", json!("alice")),
        ("email", json!("alice@corp.test")),
        ("name", json!("Alice Archer")),
        ("groups", json!(["staff"])),
        ("nonce", json!("the-nonce")),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
    let at = |name: &str| claims[name].as_u64().unwrap();
    assert!(at("auth_time") <= at("iat") && at("iat") < at("exp"));
}

#[tokio::test]
async fn the_login_page_can_be_read_by_everybody_and_framed_by_nobody() {
    let provider = Provider::start().await;
    let url = format!(
        "{}?{}",
        provider.url("/authorize"),
        query(&authorization(&[]))
    );

    let response = client().get(url).send().await.unwrap();

    let policy = response.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(policy.contains("frame-ancestors 'none'"));
    assert!(
        response.headers()["set-cookie"]
            .to_str()
            .unwrap()
            .contains("HttpOnly; SameSite=Strict")
    );
    let html = response.text().await.unwrap();
    for needed in [
        "<html lang=\"en\">",
        "<label for=\"login\">",
        "Corp &amp; &lt;Co&gt;",
    ] {
        assert!(html.contains(needed), "{needed}");
    }
}

#[tokio::test]
async fn a_request_without_state_and_nonce_is_answered_without_them() {
    let provider = Provider::start().await;
    let page = LoginPage::open(&provider, &authorization(&[("state", ""), ("nonce", "")])).await;

    let (_, parameters) = page.submit(&provider, "bob", "sign-in").await;
    let code = find(&parameters, "code").unwrap();
    let tokens = json_of(provider.exchange(&code, &[]).await).await;

    assert_eq!(find(&parameters, "state"), None);
    let claims = claims_of(tokens["id_token"].as_str().unwrap());
    assert_eq!(
        (claims.get("nonce"), &claims["groups"]),
        (None, &json!(["guests"]))
    );
}

#[tokio::test]
async fn only_the_scopes_that_were_asked_for_are_granted() {
    let provider = Provider::start().await;
    let page = LoginPage::open(&provider, &authorization(&[("scope", "openid unknown")])).await;

    let (_, parameters) = page.submit(&provider, "alice", "sign-in").await;
    let code = find(&parameters, "code").unwrap();
    let tokens = json_of(provider.exchange(&code, &[]).await).await;

    assert_eq!(tokens["scope"], "openid");
    assert_eq!(tokens.get("refresh_token"), None);
    let claims = claims_of(tokens["id_token"].as_str().unwrap());
    assert_eq!((claims.get("email"), claims.get("groups")), (None, None));
}

#[tokio::test]
async fn a_pushed_request_is_shown_once() {
    let provider = Provider::start().await;
    let form = authorization(&[]);
    let form: Vec<(&str, &str)> = form.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let response = post_form(&provider.url("/par"), &form).await;
    assert_eq!(response.status(), 201);
    let pushed = json_of(response).await;
    let by_reference = vec![
        ("client_id".to_owned(), CLIENT_ID.to_owned()),
        (
            "request_uri".to_owned(),
            pushed["request_uri"].as_str().unwrap().to_owned(),
        ),
    ];

    let page = LoginPage::open(&provider, &by_reference).await;
    let (_, parameters) = page.submit(&provider, "alice", "sign-in").await;
    let url = format!("{}?{}", provider.url("/authorize"), query(&by_reference));
    let again = client().get(url).send().await.unwrap();

    assert_eq!(pushed["expires_in"], 60);
    assert!(find(&parameters, "code").is_some());
    assert_eq!(find(&parameters, "state").unwrap(), "the state");
    assert_eq!(again.status(), 400);
}

#[tokio::test]
async fn a_bad_pushed_request_is_refused_in_place() {
    let provider = Provider::start().await;
    for (changes, error) in [
        (("code_challenge", ""), "invalid_request"),
        (("request_uri", "urn:x"), "invalid_request"),
        (
            ("redirect_uri", "https://evil.example/callback"),
            "invalid_request",
        ),
        (("client_id", "nobody"), "invalid_client"),
        (("scope", "email"), "invalid_scope"),
    ] {
        let form = authorization(&[changes]);
        let form: Vec<(&str, &str)> = form.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();

        let response = post_form(&provider.url("/par"), &form).await;

        assert_eq!(json_of(response).await["error"], error, "{changes:?}");
    }
}

#[tokio::test]
async fn an_unknown_client_or_redirect_is_never_redirected_to() {
    let provider = Provider::start().await;
    for changes in [
        ("client_id", "nobody"),
        ("client_id", ""),
        ("redirect_uri", ""),
        ("redirect_uri", "https://evil.example/callback"),
        ("redirect_uri", "http://localhost:1/callback"),
        ("redirect_uri", "http://127.0.0.1:1/elsewhere"),
        ("redirect_uri", "http://127.0.0.1.evil.example/callback"),
    ] {
        let url = format!(
            "{}?{}",
            provider.url("/authorize"),
            query(&authorization(&[changes]))
        );

        let response = client().get(url).send().await.unwrap();

        assert!(response.status().is_client_error(), "{changes:?}");
        assert!(!response.headers().contains_key("location"), "{changes:?}");
        assert!(response.text().await.unwrap().contains("role=\"alert\""));
    }
}

#[tokio::test]
async fn other_mistakes_go_back_to_the_client_with_state_and_issuer() {
    let provider = Provider::start().await;
    for (changes, error) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("response_type", ""), "invalid_request"),
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge", "tooshort"), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge_method", ""), "invalid_request"),
        (("scope", "email"), "invalid_scope"),
        (("prompt", "none"), "login_required"),
        (("request", "eyJ9"), "request_not_supported"),
        (("response_mode", "fragment"), "invalid_request"),
    ] {
        let url = format!(
            "{}?{}",
            provider.url("/authorize"),
            query(&authorization(&[changes]))
        );

        let response = client().get(url).send().await.unwrap();

        assert_eq!(response.status(), 303, "{changes:?}");
        let (location, parameters) = location(&response);
        assert!(location.starts_with(CALLBACK));
        assert_eq!(find(&parameters, "error").unwrap(), error, "{changes:?}");
        assert_eq!(find(&parameters, "state").unwrap(), "the state");
        assert_eq!(find(&parameters, "iss").unwrap(), provider.url(""));
    }
}

#[tokio::test]
async fn a_repeated_parameter_is_refused() {
    let provider = Provider::start().await;
    let mut parameters = authorization(&[]);
    parameters.push(("state".to_owned(), "another".to_owned()));
    let url = format!("{}?{}", provider.url("/authorize"), query(&parameters));

    let response = client().get(url).send().await.unwrap();

    assert_eq!(response.status(), 400);
}

#[tokio::test]
async fn the_form_works_once_and_only_in_the_browser_that_got_it() {
    let provider = Provider::start().await;
    let page = LoginPage::open(&provider, &authorization(&[])).await;
    let without_cookie = LoginPage {
        cookie: "unrelated=1".to_owned(),
        ..page.clone()
    };
    let other_token = LoginPage {
        csrf: "x".to_owned(),
        ..page.clone()
    };

    assert_eq!(
        without_cookie
            .post(&provider, "alice", "sign-in")
            .await
            .status(),
        403
    );
    assert_eq!(
        other_token
            .post(&provider, "alice", "sign-in")
            .await
            .status(),
        403
    );
    assert_eq!(page.post(&provider, "alice", "sign-in").await.status(), 303);
    assert_eq!(page.post(&provider, "alice", "sign-in").await.status(), 400);
}

#[tokio::test]
async fn an_unknown_person_is_told_so_and_may_try_again() {
    let provider = Provider::start().await;
    let page = LoginPage::open(&provider, &authorization(&[])).await;

    let response = page.post(&provider, "<mallory>", "sign-in").await;
    let status = response.status();
    let html = response.text().await.unwrap();
    let (_, parameters) = page.submit(&provider, "alice", "sign-in").await;

    assert_eq!(status, 400);
    assert!(html.contains("&lt;mallory&gt;") && !html.contains("<mallory>"));
    assert!(find(&parameters, "code").is_some());
}

#[tokio::test]
async fn a_person_who_cancels_sends_the_client_access_denied() {
    let provider = Provider::start().await;
    let page = LoginPage::open(&provider, &authorization(&[])).await;

    let (_, parameters) = page.submit(&provider, "", "cancel").await;

    assert_eq!(find(&parameters, "error").unwrap(), "access_denied");
    assert_eq!(find(&parameters, "state").unwrap(), "the state");
    assert_eq!(find(&parameters, "code"), None);
}

#[tokio::test]
async fn a_code_is_exchanged_only_with_everything_right() {
    let provider = Provider::start().await;
    for (changes, error) in [
        (
            (
                "code_verifier",
                "a-wrong-verifier-that-is-long-enough-to-be-one",
            ),
            "invalid_grant",
        ),
        (("code_verifier", "short"), "invalid_grant"),
        (("code_verifier", ""), "invalid_request"),
        (
            ("redirect_uri", "http://127.0.0.1:1/callback"),
            "invalid_grant",
        ),
        (("redirect_uri", ""), "invalid_request"),
        (("client_id", "nobody"), "invalid_client"),
        (("client_secret", "s"), "invalid_client"),
        (("code", "unknown"), "invalid_grant"),
        (("grant_type", "password"), "unsupported_grant_type"),
        (("grant_type", ""), "invalid_request"),
    ] {
        let code = provider.code("alice").await;

        let response = provider.exchange(&code, &[changes]).await;

        let expected = if error == "invalid_client" { 401 } else { 400 };
        assert_eq!(response.status(), expected, "{changes:?}");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(json_of(response).await["error"], error, "{changes:?}");
    }
}

#[tokio::test]
async fn a_wrong_verifier_spends_the_code() {
    let provider = Provider::start().await;
    let code = provider.code("alice").await;
    let wrong = "a-wrong-verifier-that-is-long-enough-to-be-one";

    provider.exchange(&code, &[("code_verifier", wrong)]).await;
    let response = provider.exchange(&code, &[]).await;

    assert_eq!(json_of(response).await["error"], "invalid_grant");
}

#[tokio::test]
async fn a_code_that_comes_again_ends_what_it_was_exchanged_for() {
    let provider = Provider::start().await;
    let code = provider.code("alice").await;
    let tokens = json_of(provider.exchange(&code, &[]).await).await;

    let replay = provider.exchange(&code, &[]).await;

    assert_eq!(json_of(replay).await["error"], "invalid_grant");
    let refreshed = provider
        .refresh(tokens["refresh_token"].as_str().unwrap())
        .await;
    assert_eq!(json_of(refreshed).await["error"], "invalid_grant");
}

#[tokio::test]
async fn a_code_lapses_after_a_minute() {
    let provider = Provider::start().await;
    let code = provider.code("alice").await;

    provider.clock.advance(Duration::from_secs(60));

    let response = provider.exchange(&code, &[]).await;
    assert_eq!(json_of(response).await["error"], "invalid_grant");
}

#[tokio::test]
async fn refresh_tokens_rotate_and_one_that_comes_again_ends_the_family() {
    let provider = Provider::start().await;
    let tokens = provider.tokens("alice").await;
    let first = tokens["refresh_token"].as_str().unwrap();
    let fresh = json_of(provider.refresh(first).await).await;
    let second = fresh["refresh_token"].as_str().unwrap();

    let reuse = json_of(provider.refresh(first).await).await;
    let after = json_of(provider.refresh(second).await).await;

    assert_ne!(first, second);
    let claims = claims_of(fresh["id_token"].as_str().unwrap());
    let before = claims_of(tokens["id_token"].as_str().unwrap());
    assert_eq!(claims["auth_time"], before["auth_time"]);
    assert_eq!(
        (&reuse["error"], &after["error"]),
        (&json!("invalid_grant"), &json!("invalid_grant"))
    );
}

#[tokio::test]
async fn revoking_either_token_ends_both() {
    let provider = Provider::start().await;
    for kind in ["access_token", "refresh_token"] {
        let tokens = provider.tokens("alice").await;
        let who = async || {
            let token = tokens["access_token"].as_str().unwrap();
            client()
                .get(provider.url("/userinfo"))
                .header("authorization", format!("Bearer {token}"))
                .send()
                .await
                .unwrap()
        };
        assert_eq!(json_of(who().await).await["sub"], "alice");

        let token = tokens[kind].as_str().unwrap();
        let form = [("token", token), ("client_id", CLIENT_ID)];
        let revoked = post_form(&provider.url("/revoke"), &form).await;

        assert_eq!(revoked.status(), 200);
        assert_eq!(who().await.status(), 401, "{kind}");
        let refreshed = provider
            .refresh(tokens["refresh_token"].as_str().unwrap())
            .await;
        assert_eq!(refreshed.status(), 400, "{kind}");
    }
    let form = [("token", "unknown"), ("client_id", CLIENT_ID)];
    assert_eq!(
        post_form(&provider.url("/revoke"), &form).await.status(),
        200
    );
}

#[tokio::test]
async fn forms_must_be_forms_and_small() {
    let provider = Provider::start().await;
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", "x"),
        ("client_id", CLIENT_ID),
    ];
    let huge = "x".repeat(1 << 20);

    let json = client()
        .post(provider.url("/token"))
        .header("content-type", "application/json")
        .body("{}")
        .send()
        .await
        .unwrap();
    let large = post_form(
        &provider.url("/token"),
        &changed(&form, &[("refresh_token", &huge)]),
    )
    .await;
    let basic = client()
        .post(provider.url("/token"))
        .header("authorization", "Basic eDp5")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("client_id={CLIENT_ID}&grant_type=refresh_token"))
        .send()
        .await
        .unwrap();

    assert_eq!(
        (json.status(), large.status(), basic.status()),
        (
            400.try_into().unwrap(),
            413.try_into().unwrap(),
            401.try_into().unwrap()
        )
    );
}

#[tokio::test]
async fn discovery_names_endpoints_that_answer() {
    let provider = Provider::start().await;
    let url = provider.url("/.well-known/openid-configuration");

    let metadata = json_of(client().get(url).send().await.unwrap()).await;

    assert_eq!(metadata["issuer"], provider.url(""));
    for (name, value) in metadata.as_object().unwrap() {
        if name.ends_with("_endpoint") || name == "jwks_uri" {
            let response = client().get(value.as_str().unwrap()).send().await.unwrap();
            assert_ne!(response.status(), 404, "{name}");
        }
    }
    assert_eq!(VERIFIER.len(), 43);
}
