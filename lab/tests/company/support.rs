//! What the tests share: servers on free ports, a browser, a device.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use connector_core::configuration::{Document, RawGateway, RawIdentity, RawPolicy, RawSite};
use connector_core::control::{ASSERTION_TYPE, Assertion, ENROLMENT_TYPE, EnrolmentProof};
use connector_core::jws::{self, PublicKey};
use ed25519_dalek::SigningKey;
use lab::clock::Clock;
use lab::company::Company;
use lab::control_plane::{
    ControlPlane, ControlPlaneConfig, Feed, HostStore, IdTokens, Policies, Sessions,
};
use lab::http_server::BoxFuture;
use lab::idp::{Idp, IdpConfig};
use lab::peers::{PeerError, PeerTable, PeerTables};
use lab::random;
use lab::ruling::{Ruling, Subordinates};
use lab::running::Options;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tunnel_proto::keys;
use url::Url;

/// Long enough for a busy machine; reaching it is a failure.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) const CLIENT_ID: &str = "ztna-connector";
pub(crate) const CALLBACK: &str = "http://127.0.0.1:49152/callback";

pub(crate) fn client() -> Client {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(DEADLINE)
        .build()
        .unwrap()
}

pub(crate) async fn listener() -> TcpListener {
    TcpListener::bind(("127.0.0.1", 0)).await.unwrap()
}

pub(crate) async fn post_form(url: &str, form: &[(&str, &str)]) -> Response {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    client()
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await
        .unwrap()
}

pub(crate) async fn post_json(url: &str, body: &Value) -> Response {
    client()
        .post(url)
        .header("content-type", "application/json")
        .body(body.to_string())
        .send()
        .await
        .unwrap()
}

pub(crate) async fn json_of(response: Response) -> Value {
    let text = response.text().await.unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

pub(crate) fn claims_of(jwt: &str) -> Value {
    let payload = jwt.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// An identity provider and the clock that it goes by.
pub(crate) struct Provider {
    pub(crate) idp: Idp,
    pub(crate) clock: Clock,
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let clock = Clock::default();
        let config = IdpConfig {
            organisation: "Corp & <Co>".to_owned(),
            client_id: CLIENT_ID.to_owned(),
            people: Company::built_in().people,
            clock: clock.clone(),
        };
        Self {
            idp: Idp::start(listener().await, config).unwrap(),
            clock,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.idp.issuer())
    }

    /// Signs `login` in and returns the code.
    pub(crate) async fn code(&self, login: &str) -> String {
        let page = LoginPage::open(self, &authorization(&[])).await;
        let (location, parameters) = page.submit(self, login, "sign-in").await;
        assert!(location.starts_with(CALLBACK), "{location}");
        find(&parameters, "code").unwrap()
    }

    /// Signs `login` in and returns the token answer.
    pub(crate) async fn tokens(&self, login: &str) -> Value {
        let code = self.code(login).await;
        json_of(self.exchange(&code, &[]).await).await
    }

    pub(crate) async fn exchange(&self, code: &str, changes: &[(&str, &str)]) -> Response {
        exchange(&self.url("/token"), code, changes).await
    }

    pub(crate) async fn refresh(&self, token: &str) -> Response {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
            ("client_id", CLIENT_ID),
        ];
        post_form(&self.url("/token"), &form).await
    }
}

async fn exchange(url: &str, code: &str, changes: &[(&str, &str)]) -> Response {
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("client_id", CLIENT_ID),
        ("code_verifier", VERIFIER),
    ];
    post_form(url, &changed(&form, changes)).await
}

/// Signs `login` in at the provider `issuer`, and returns the ID token.
pub(crate) async fn id_token(issuer: &str, login: &str) -> String {
    let page = LoginPage::open_at(issuer, &authorization(&[])).await;
    let (_, parameters) = location(&page.post_at(issuer, login, "sign-in").await);
    let code = find(&parameters, "code").unwrap();
    let tokens = json_of(exchange(&format!("{issuer}/token"), &code, &[]).await).await;
    tokens["id_token"].as_str().unwrap().to_owned()
}

pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// Returns the parameters of a good authorization request with `changes`; an
/// empty value takes a parameter away.
pub(crate) fn authorization(changes: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let good = [
        ("client_id", CLIENT_ID),
        ("redirect_uri", CALLBACK),
        ("response_type", "code"),
        ("scope", "openid profile email groups offline_access"),
        ("state", "the state"),
        ("nonce", "the-nonce"),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    changed(&good, changes)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

pub(crate) fn changed<'a>(
    good: &[(&'a str, &'a str)],
    changes: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let mut pairs: Vec<_> = good
        .iter()
        .filter(|(name, _)| !changes.iter().any(|(other, _)| other == name))
        .copied()
        .collect();
    pairs.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
    pairs
}

pub(crate) fn query(parameters: &[(String, String)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish()
}

/// Returns where a redirect leads, with its parameters.
pub(crate) fn location(response: &Response) -> (String, Vec<(String, String)>) {
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let parameters = Url::parse(&location)
        .unwrap()
        .query_pairs()
        .into_owned()
        .collect();
    (location, parameters)
}

pub(crate) fn find(parameters: &[(String, String)], name: &str) -> Option<String> {
    parameters
        .iter()
        .find(|(other, _)| other == name)
        .map(|(_, value)| value.clone())
}

/// A login page in a browser.
#[derive(Debug, Clone)]
pub(crate) struct LoginPage {
    pub(crate) cookie: String,
    pub(crate) interaction: String,
    pub(crate) csrf: String,
}

impl LoginPage {
    pub(crate) async fn open(provider: &Provider, parameters: &[(String, String)]) -> Self {
        Self::open_at(&provider.url(""), parameters).await
    }

    async fn open_at(issuer: &str, parameters: &[(String, String)]) -> Self {
        let url = format!("{issuer}/authorize?{}", query(parameters));
        let response = client().get(url).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let set_cookie = response.headers()["set-cookie"].to_str().unwrap();
        let cookie = set_cookie.split(';').next().unwrap().to_owned();
        let html = response.text().await.unwrap();
        Self {
            interaction: hidden(&html, "interaction"),
            csrf: hidden(&html, "csrf"),
            cookie,
        }
    }

    pub(crate) async fn post(&self, provider: &Provider, login: &str, action: &str) -> Response {
        self.post_at(&provider.url(""), login, action).await
    }

    async fn post_at(&self, issuer: &str, login: &str, action: &str) -> Response {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("interaction", &self.interaction)
            .append_pair("csrf", &self.csrf)
            .append_pair("login", login)
            .append_pair("action", action)
            .finish();
        client()
            .post(format!("{issuer}/login"))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("cookie", &self.cookie)
            .body(body)
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn submit(
        &self,
        provider: &Provider,
        login: &str,
        action: &str,
    ) -> (String, Vec<(String, String)>) {
        let response = self.post(provider, login, action).await;
        assert_eq!(response.status(), 303);
        location(&response)
    }
}

fn hidden(html: &str, name: &str) -> String {
    let start = format!("name=\"{name}\" value=\"");
    let rest = html.split_once(&start).unwrap().1;
    rest.split_once('"').unwrap().0.to_owned()
}

/// A gateway that only remembers what it is told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl PeerTable for Told {
    fn name(&self) -> &str {
        "told"
    }

    fn add<'a>(
        &'a self,
        key: keys::PublicKey,
        addresses: &'a [IpAddr],
    ) -> BoxFuture<'a, Result<(), PeerError>> {
        self.0.lock().unwrap().push(format!("+{key} {addresses:?}"));
        Box::pin(async { Ok(()) })
    }

    fn remove(&self, key: keys::PublicKey) -> BoxFuture<'_, Result<(), PeerError>> {
        self.0.lock().unwrap().push(format!("-{key}"));
        Box::pin(async { Ok(()) })
    }
}

/// A control plane with an identity provider beside it.
pub(crate) struct Corp {
    pub(crate) provider: Provider,
    pub(crate) plane: Arc<ControlPlane>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) peers: Arc<PeerTables>,
    pub(crate) told: Told,
    pub(crate) clock: Clock,
}

impl Corp {
    pub(crate) async fn start() -> Self {
        Self::start_with(HostStore::Memory).await
    }

    pub(crate) async fn start_with(hosts: HostStore) -> Self {
        let provider = Provider::start().await;
        let clock = provider.clock.clone();
        let company = Company::built_in();
        let told = Told::default();
        let peers = Arc::new(PeerTables::new(vec![Box::new(told.clone())]));
        let sessions =
            Arc::new(Sessions::new(&company.session, Arc::clone(&peers), clock.clone()).unwrap());
        let issuer = provider.idp.issuer().to_string();
        let feed = Arc::new(
            Feed::new(
                SigningKey::from_bytes(&[7; 32]),
                company.suffixes().unwrap(),
                company.configuration_lifetime(),
                clock.clone(),
                document(&company, &issuer),
            )
            .unwrap(),
        );
        let policies = Policies::new(
            SigningKey::from_bytes(&[7; 32]),
            company.configuration_lifetime(),
            clock.clone(),
            &company.rules,
            &company.policies,
        );
        let ruling = Ruling::new(
            Subordinates {
                clock: clock.clone(),
                feed: Arc::clone(&feed),
                peers: Arc::clone(&peers),
                pdp: None,
                policies: Arc::new(policies.unwrap()),
            },
            company.rules.clone(),
        );
        let config = ControlPlaneConfig {
            clock: clock.clone(),
            hosts,
            id_tokens: IdTokens::new(&issuer, CLIENT_ID, clock.clone()).unwrap(),
            ruling: Arc::new(ruling),
            sessions: Arc::clone(&sessions),
        };
        let plane = Arc::new(ControlPlane::start(listener().await, config).unwrap());
        Self {
            provider,
            plane,
            feed,
            sessions,
            peers,
            told,
            clock,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.plane.base())
    }

    pub(crate) async fn challenge(&self) -> String {
        challenge(self.plane.base().as_str()).await
    }

    /// Returns a device whose key is admitted.
    pub(crate) async fn device(&self) -> Device {
        let mut device = Device::new();
        let token = self.plane.make_enrolment_token().unwrap();
        let enrolment = device.enrolment(self, Some(&token)).await;
        let response = post_json(&self.url("v1/hosts"), &enrolment).await;
        assert_eq!(response.status(), 200);
        device.host_id = json_of(response).await["host_id"]
            .as_str()
            .unwrap()
            .to_owned();
        device
    }
}

async fn challenge(base: &str) -> String {
    let url = format!("{base}v1/challenges");
    let response = client().post(url).send().await.unwrap();
    let challenge = json_of(response).await;
    challenge["challenge"].as_str().unwrap().to_owned()
}

fn document(company: &Company, issuer: &str) -> Document {
    Document {
        version: 0,
        issued_at: 0,
        expires_at: 0,
        organisation: company.organisation.clone(),
        identity: RawIdentity {
            issuer: issuer.to_owned(),
            client_id: CLIENT_ID.to_owned(),
            scopes: company.identity.scopes.clone(),
        },
        policy: RawPolicy::remote("http://127.0.0.1:9"),
        session: company.session.limits(),
        sites: vec![RawSite {
            id: "hq".to_owned(),
            resolvers: vec!["10.20.0.53".parse().unwrap()],
            gateways: vec![RawGateway {
                id: "hq-1".to_owned(),
                endpoint: "127.0.0.1:9".to_owned(),
                public_key: STANDARD.encode([3; 32]),
                allowed_ips: vec!["10.20.0.0/16".to_owned()],
            }],
        }],
        resources: company.resources.clone(),
        posture: company.posture.clone(),
        signals: None,
    }
}

/// A laptop with its keys.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    pub(crate) key: SigningKey,
    pub(crate) session_key: SigningKey,
    pub(crate) wireguard_key: [u8; 32],
    pub(crate) host_id: String,
}

impl Device {
    pub(crate) fn new() -> Self {
        Self {
            key: SigningKey::from_bytes(&random::bytes()),
            session_key: SigningKey::from_bytes(&random::bytes()),
            wireguard_key: random::bytes(),
            host_id: String::new(),
        }
    }

    pub(crate) async fn enrolment(&self, company: &Corp, token: Option<&str>) -> Value {
        self.enrolment_at(company.plane.base().as_str(), token)
            .await
    }

    pub(crate) async fn enrolment_at(&self, base: &str, token: Option<&str>) -> Value {
        let proof = EnrolmentProof {
            aud: base.to_owned(),
            challenge: challenge(base).await,
        };
        let mut enrolment = json!({
            "public_key": PublicKey::of(&self.key).to_string(),
            "name": "laptop",
            "os": "linux",
            "proof": jws::sign(&self.key, ENROLMENT_TYPE, &proof).unwrap(),
        });
        if let Some(token) = token {
            enrolment["token"] = json!(token);
        }
        enrolment
    }

    /// Returns good claims of a host assertion.
    pub(crate) fn claims(&self, company: &Corp) -> Assertion {
        self.claims_at(company.plane.base().as_str(), company.clock.unix_seconds())
    }

    pub(crate) fn claims_at(&self, base: &str, now: u64) -> Assertion {
        Assertion {
            iss: self.host_id.clone(),
            aud: base.to_owned(),
            iat: now,
            exp: now + 60,
            jti: random::identifier(),
        }
    }

    pub(crate) fn sign(&self, claims: &Assertion) -> String {
        let jws = jws::sign(&self.key, ASSERTION_TYPE, claims).unwrap();
        format!("Bearer {jws}")
    }

    pub(crate) fn host_assertion(&self, company: &Corp) -> String {
        self.sign(&self.claims(company))
    }

    pub(crate) fn session_assertion(&self, company: &Corp, session: &str) -> String {
        let claims = Assertion {
            iss: session.to_owned(),
            ..self.claims(company)
        };
        let jws = jws::sign(&self.session_key, ASSERTION_TYPE, &claims).unwrap();
        format!("Bearer {jws}")
    }

    pub(crate) fn session_request(&self, id_token: &str) -> Value {
        json!({
            "id_token": id_token,
            "session_key": PublicKey::of(&self.session_key).to_string(),
            "wireguard_key": STANDARD.encode(self.wireguard_key),
        })
    }

    pub(crate) async fn open_session(&self, company: &Corp, id_token: &str) -> Response {
        client()
            .post(company.url("v1/sessions"))
            .header("authorization", self.host_assertion(company))
            .header("content-type", "application/json")
            .body(self.session_request(id_token).to_string())
            .send()
            .await
            .unwrap()
    }
}

/// A lab of the built-in company, all of it its own.
pub(crate) fn options() -> Options {
    Options {
        company: Company::built_in(),
        state: None,
        listen: "127.0.0.1:0".parse().unwrap(),
        issuer: None,
        client_id: None,
        policy: None,
        policy_mode: None,
        external_gateways: Vec::new(),
        site_resolver: None,
        clock: Clock::default(),
    }
}
