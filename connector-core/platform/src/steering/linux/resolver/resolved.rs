//! systemd-resolved over D-Bus (`org.freedesktop.resolve1(5)`): the tunnel's link
//! gets the stub as its name server, for protected names alone.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use connector_core::name::DomainName;
use zbus::Connection;
use zbus::zvariant::{OwnedObjectPath, OwnedValue};

use crate::steering::Dns;

/// The service, if it runs. Nothing here starts it.
#[derive(Debug)]
pub(super) struct Resolved(Connection);

impl Resolved {
    /// Looks for it.
    ///
    /// # Errors
    ///
    /// If there is a system bus that does not answer.
    pub(super) async fn find() -> io::Result<Option<Self>> {
        if !Path::new(BUS).exists() {
            return Ok(None);
        }
        let look = async {
            let address = format!("unix:path={BUS}");
            let bus = zbus::connection::Builder::address(address.as_str())?
                .build()
                .await?;
            let names = zbus::fdo::DBusProxy::new(&bus).await?;
            let name = SERVICE.try_into().map_err(zbus::Error::from)?;
            let is_there = names.name_has_owner(name).await?;
            Ok(is_there.then_some(Self(bus)))
        };
        timely("ask the system bus for systemd-resolved", look).await
    }

    /// Returns whether the link is set as [`Self::establish`] sets it.
    pub(super) async fn is_established(&self, link: u32, dns: &Dns) -> io::Result<bool> {
        let read = async {
            let path: OwnedObjectPath = self.manager("GetLink", &(index(link),)).await?;
            let servers: Vec<(i32, Vec<u8>)> = self.property(&path, "DNS").await?;
            let domains: Vec<(String, bool)> = self.property(&path, "Domains").await?;
            let is_default: bool = self.property(&path, "DefaultRoute").await?;
            Ok((servers, domains, is_default))
        };
        let (servers, domains, is_default) = timely("read the link's name servers", read).await?;
        let mut wanted = routing_domains(&dns.suffixes);
        let mut domains: Vec<(String, bool)> = domains;
        wanted.sort();
        domains.sort();
        Ok(servers == addresses(&dns.servers) && domains == wanted && !is_default)
    }

    /// Sends questions for protected names, and no others, to the stub.
    pub(super) async fn establish(&self, link: u32, dns: &Dns) -> io::Result<()> {
        let link = index(link);
        let set = async {
            let () = self.manager("SetLinkDefaultRoute", &(link, false)).await?;
            // The stub's answers are not in the world's tree of signatures, are not
            // encrypted on their way within this machine, and concern no neighbour.
            for method in [
                "SetLinkDNSSEC",
                "SetLinkDNSOverTLS",
                "SetLinkLLMNR",
                "SetLinkMulticastDNS",
            ] {
                let () = self.manager(method, &(link, "no")).await?;
            }
            let () = self
                .manager("SetLinkDomains", &(link, routing_domains(&dns.suffixes)))
                .await?;
            let () = self
                .manager("SetLinkDNS", &(link, addresses(&dns.servers)))
                .await?;
            self.manager("FlushCaches", &()).await
        };
        timely("set the link's name servers", set).await
    }

    /// Takes back what was set on the link.
    pub(super) async fn revert(&self, link: u32) -> io::Result<()> {
        let revert = async {
            let () = self.manager("RevertLink", &(index(link),)).await?;
            self.manager("FlushCaches", &()).await
        };
        timely("take back the link's name servers", revert).await
    }

    async fn manager<Arguments, Answer>(
        &self,
        method: &str,
        arguments: &Arguments,
    ) -> zbus::Result<Answer>
    where
        Arguments: serde::Serialize + zbus::zvariant::DynamicType + Sync,
        Answer: for<'d> zbus::zvariant::DynamicDeserialize<'d>,
    {
        let reply = self
            .0
            .call_method(Some(SERVICE), OBJECT, Some(MANAGER), method, arguments)
            .await?;
        reply.body().deserialize()
    }

    async fn property<Value>(&self, link: &OwnedObjectPath, name: &str) -> zbus::Result<Value>
    where
        Value: TryFrom<OwnedValue>,
        Value::Error: Into<zbus::Error>,
    {
        let reply = self
            .0
            .call_method(Some(SERVICE), link, Some(PROPERTIES), "Get", &(LINK, name))
            .await?;
        let value: OwnedValue = reply.body().deserialize()?;
        value.try_into().map_err(Into::into)
    }
}

async fn timely<T>(action: &str, call: impl Future<Output = zbus::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(io::Error::other(format!(
            "systemd-resolved refuses to {action}: {error}"
        ))),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("cannot {action}: no answer within {} s", PATIENCE.as_secs()),
        )),
    }
}

/// Links are numbered with signed integers on the bus.
const fn index(link: u32) -> i32 {
    link.cast_signed()
}

fn addresses(servers: &[IpAddr]) -> Vec<(i32, Vec<u8>)> {
    servers
        .iter()
        .map(|server| match server {
            IpAddr::V4(v4) => (AF_INET, v4.octets().to_vec()),
            IpAddr::V6(v6) => (AF_INET6, v6.octets().to_vec()),
        })
        .collect()
}

/// The second half says that a domain is not one to search in.
fn routing_domains(suffixes: &[DomainName]) -> Vec<(String, bool)> {
    suffixes
        .iter()
        .map(|suffix| (suffix.to_string(), true))
        .collect()
}

const SERVICE: &str = "org.freedesktop.resolve1";
const OBJECT: &str = "/org/freedesktop/resolve1";
const MANAGER: &str = "org.freedesktop.resolve1.Manager";
const LINK: &str = "org.freedesktop.resolve1.Link";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// The system bus; what the environment says of it does not count.
const BUS: &str = "/run/dbus/system_bus_socket";

/// Local programs answer within milliseconds; what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(3);

const AF_INET: i32 = 2;
const AF_INET6: i32 = 10;

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, MutexGuard};

    use zbus::zvariant::ObjectPath;

    use super::*;

    #[tokio::test]
    async fn the_link_answers_for_protected_names_alone_until_it_is_reverted() {
        let (resolved, link) = service().await;
        let dns = dns(&["198.18.0.1", "fd7a::1"], &["corp.example", "dev.test"]);
        assert!(!resolved.is_established(7, &dns).await.unwrap());

        resolved.establish(7, &dns).await.unwrap();

        assert!(resolved.is_established(7, &dns).await.unwrap());
        {
            let link = link.lock().unwrap();
            assert_eq!(link.servers[0], (2, vec![198, 18, 0, 1]));
            assert_eq!(link.servers[1].0, 10);
            assert_eq!(link.domains[0], ("corp.example".to_owned(), true));
            assert_eq!(link.is_default, Some(false));
            assert_eq!(link.switched_off, ["dnssec", "tls", "llmnr", "mdns"]);
        }
        resolved.revert(7).await.unwrap();
        assert!(!resolved.is_established(7, &dns).await.unwrap());
    }

    #[tokio::test]
    async fn other_names_and_servers_are_told_from_ours() {
        let (resolved, link) = service().await;
        let ours = dns(&["198.18.0.1"], &["corp.example"]);
        resolved.establish(7, &ours).await.unwrap();

        let more = dns(&["198.18.0.1"], &["corp.example", "dev.test"]);
        assert!(!resolved.is_established(7, &more).await.unwrap());
        link.lock().unwrap().is_default = Some(true);
        assert!(!resolved.is_established(7, &ours).await.unwrap());
    }

    #[tokio::test]
    async fn a_refusal_is_an_error() {
        let (resolved, _) = service().await;

        let refused = resolved
            .establish(8, &dns(&["198.18.0.1"], &["corp.example"]))
            .await
            .unwrap_err();

        assert!(refused.to_string().contains("no link 8"), "{refused}");
    }

    /// Link 7, as the service keeps it.
    #[derive(Debug, Default)]
    struct Link {
        servers: Vec<(i32, Vec<u8>)>,
        domains: Vec<(String, bool)>,
        is_default: Option<bool>,
        switched_off: Vec<&'static str>,
    }

    type Shared = Arc<Mutex<Link>>;

    struct ManagerInterface(Shared);

    impl ManagerInterface {
        fn set(&self, index: i32, set: impl FnOnce(&mut Link)) -> zbus::fdo::Result<()> {
            if index != 7 {
                return Err(zbus::fdo::Error::Failed(format!("no link {index}")));
            }
            set(&mut self.link());
            Ok(())
        }

        fn link(&self) -> MutexGuard<'_, Link> {
            self.0.lock().unwrap()
        }
    }

    #[zbus::interface(name = "org.freedesktop.resolve1.Manager")]
    impl ManagerInterface {
        fn get_link(&self, index: i32) -> zbus::fdo::Result<ObjectPath<'static>> {
            self.set(index, |_| {})?;
            Ok(ObjectPath::from_static_str_unchecked(PATH_OF_LINK))
        }

        #[zbus(name = "SetLinkDNS")]
        fn dns(&self, index: i32, servers: Vec<(i32, Vec<u8>)>) -> zbus::fdo::Result<()> {
            self.set(index, |link| link.servers = servers)
        }

        #[zbus(name = "SetLinkDomains")]
        fn domains(&self, index: i32, domains: Vec<(String, bool)>) -> zbus::fdo::Result<()> {
            self.set(index, |link| link.domains = domains)
        }

        #[zbus(name = "SetLinkDefaultRoute")]
        fn default_route(&self, index: i32, is_default: bool) -> zbus::fdo::Result<()> {
            self.set(index, |link| link.is_default = Some(is_default))
        }

        #[zbus(name = "SetLinkDNSSEC")]
        fn dnssec(&self, index: i32, mode: &str) -> zbus::fdo::Result<()> {
            assert_eq!(mode, "no");
            self.set(index, |link| link.switched_off.push("dnssec"))
        }

        #[zbus(name = "SetLinkDNSOverTLS")]
        fn tls(&self, index: i32, mode: &str) -> zbus::fdo::Result<()> {
            assert_eq!(mode, "no");
            self.set(index, |link| link.switched_off.push("tls"))
        }

        #[zbus(name = "SetLinkLLMNR")]
        fn llmnr(&self, index: i32, mode: &str) -> zbus::fdo::Result<()> {
            assert_eq!(mode, "no");
            self.set(index, |link| link.switched_off.push("llmnr"))
        }

        #[zbus(name = "SetLinkMulticastDNS")]
        fn mdns(&self, index: i32, mode: &str) -> zbus::fdo::Result<()> {
            assert_eq!(mode, "no");
            self.set(index, |link| link.switched_off.push("mdns"))
        }

        fn revert_link(&self, index: i32) -> zbus::fdo::Result<()> {
            self.set(index, |link| *link = Link::default())
        }

        fn flush_caches(&self) {}
    }

    struct LinkInterface(Shared);

    #[zbus::interface(name = "org.freedesktop.resolve1.Link")]
    impl LinkInterface {
        #[zbus(property, name = "DNS")]
        fn dns(&self) -> Vec<(i32, Vec<u8>)> {
            self.0.lock().unwrap().servers.clone()
        }

        #[zbus(property)]
        fn domains(&self) -> Vec<(String, bool)> {
            self.0.lock().unwrap().domains.clone()
        }

        #[zbus(property)]
        fn default_route(&self) -> bool {
            self.0.lock().unwrap().is_default.unwrap_or(true)
        }
    }

    /// A service of the same interface at the other end of a pair of sockets; the
    /// connection to it keeps it alive.
    async fn service() -> (Resolved, Shared) {
        let link = Shared::default();
        let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
        let service = zbus::connection::Builder::unix_stream(theirs)
            .server(zbus::Guid::generate())
            .unwrap()
            .p2p()
            .serve_at(OBJECT, ManagerInterface(Arc::clone(&link)))
            .unwrap()
            .serve_at(PATH_OF_LINK, LinkInterface(Arc::clone(&link)))
            .unwrap()
            .build();
        let client = zbus::connection::Builder::unix_stream(ours).p2p().build();
        let (service, client) = tokio::join!(service, client);
        let service = service.unwrap();
        tokio::spawn(async move {
            let _service = service;
            std::future::pending::<()>().await;
        });
        (Resolved(client.unwrap()), link)
    }

    fn dns(servers: &[&str], suffixes: &[&str]) -> Dns {
        Dns {
            servers: servers.iter().map(|text| text.parse().unwrap()).collect(),
            suffixes: suffixes.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    const PATH_OF_LINK: &str = "/org/freedesktop/resolve1/link/_37";
}
