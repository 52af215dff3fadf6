//! A registry at the other end of a connection, and what is sent to it.

mod fetch;

use std::io::Read as _;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::HeaderValue;
use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Reference as OciReference, RegistryOperation};
use tokio::runtime::{Builder, Runtime};
use zlayer_bundle::open_regular;

use crate::answer::explain;
use crate::content::{Content, Layer};
use crate::document::media;
use crate::watch::{Ended, MEMORY_MAX, Moved, PATIENCE, watched};
use crate::{Error, Keyring, Reference, proxy};
pub use fetch::Found;

/// How long it may take until a connection stands. All else is watched here.
const CONNECT: Duration = Duration::from_secs(20);

/// Bytes of a file that are on their way at a time.
const PIECE: usize = 256 << 10;

/// How registries may be spoken to.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Who asks.
    pub keyring: Keyring,
    /// Whether registries on this machine are spoken to without TLS. Others never are.
    pub plain_http: bool,
}

/// A registry, for what is done with one reference of it.
pub struct Registry {
    reference: Reference,
    client: Client,
    /// The library waits with it, and so does everybody here.
    runtime: Runtime,
    auth: RegistryAuth,
    asker: Asker,
    /// How long it may take to answer.
    pub(crate) patience: Duration,
}

/// Who asks, as errors tell it.
#[derive(Debug, Default)]
pub(crate) struct Asker {
    pub(crate) username: Option<String>,
    pub(crate) note: Option<String>,
    /// TLS is spoken with a registry on this machine, which often has none.
    pub(crate) is_tls_on_loopback: bool,
}

impl Registry {
    /// Prepares to speak with the registry of a reference; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// Credentials cannot be read, or the system's authorities.
    pub fn open(reference: &Reference, access: &Access) -> Result<Registry, Error> {
        let registry = reference.registry().to_owned();
        let is_plain = access.plain_http && reference.is_loopback();
        let found = access.keyring.find(&registry)?;
        let asker = Asker {
            username: { found.credentials.as_ref() }.map(|known| known.username.clone()),
            note: found.note,
            is_tls_on_loopback: reference.is_loopback() && !is_plain,
        };
        let auth = match found.credentials {
            Some(known) => RegistryAuth::Basic(known.username, known.password),
            None => RegistryAuth::Anonymous,
        };
        // The first one stays, and it is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = ClientConfig {
            protocol: match is_plain {
                true => ClientProtocol::Http,
                false => ClientProtocol::Https,
            },
            // In pieces some registries want them larger than others take them.
            use_monolithic_push: true,
            platform_resolver: None,
            read_timeout: None,
            connect_timeout: Some(CONNECT),
            user_agent: concat!("zlayer/", env!("CARGO_PKG_VERSION")),
            // A registry may name a token service without TLS, or send on to one, and the library goes
            // there with the password. This keeps it from that; what is on this machine is excepted where
            // that is granted, and is not for the proxy that the environment names.
            http_proxy: Some(proxy::NOWHERE.to_owned()),
            no_proxy: is_plain.then(|| proxy::LOOPBACK.to_owned()),
            https_proxy: match is_plain {
                true => None,
                false => proxy::for_tls(reference.inner.resolve_registry()),
            },
            ..ClientConfig::default()
        };
        let failed = |message: String| Error::Unreachable {
            registry: registry.clone(),
            message,
        };
        let runtime = Builder::new_current_thread().enable_all().build();
        Ok(Registry {
            reference: reference.clone(),
            client: Client::try_from(config).map_err(|error| {
                failed(format!(
                    "{}; a package such as ca-certificates brings authorities, and SSL_CERT_FILE names a \
                     file of your own",
                    crate::answer::causes(&error)
                ))
            })?,
            runtime: runtime.map_err(|error| failed(error.to_string()))?,
            auth,
            asker,
            patience: PATIENCE,
        })
    }

    /// Puts content under the reference. What is there already is not sent again, and the reference changes
    /// last.
    ///
    /// # Errors
    ///
    /// The registry refuses it, or cannot be reached.
    pub fn push(&self, content: &Content) -> Result<(), Error> {
        self.runtime.block_on(async {
            self.say_who(RegistryOperation::Push).await?;
            for member in &content.members {
                let config = &member.config;
                if !self.has(&config.digest).await? {
                    let bytes = Bytes::from(config.bytes.clone());
                    let place = &self.reference.inner;
                    let sent = self.client.push_blob(place, bytes, &config.digest);
                    self.told(sent).await?;
                }
                self.push_file(&member.layer).await?;
                if content.index.is_some() {
                    let manifest = &member.manifest;
                    let place = self.by_digest(&manifest.digest);
                    self.push_document(&place, &manifest.bytes, media::MANIFEST)
                        .await?;
                }
            }
            match content.top() {
                Some((top, media_type)) => {
                    let place = &self.reference.inner;
                    self.push_document(place, &top.bytes, media_type).await
                }
                None => Ok(()),
            }
        })
    }

    /// Finds out whether the registry wants a name and a password, and remembers what it gives for them.
    async fn say_who(&self, operation: RegistryOperation) -> Result<(), Error> {
        let place = &self.reference.inner;
        let asked = self.client.auth(place, &self.auth, operation);
        self.told(asked).await.map(|_| ())
    }

    async fn has(&self, digest: &str) -> Result<bool, Error> {
        let asked = self.client.blob_exists(&self.reference.inner, digest);
        self.told(asked).await
    }

    /// Sends a file piece by piece.
    async fn push_file(&self, layer: &Layer) -> Result<(), Error> {
        if self.has(&layer.digest).await? {
            return Ok(());
        }
        let (file, _) = open_regular(&layer.path).map_err(|source| Error::File {
            what: format!("cannot read {}", layer.path.display()),
            source,
        })?;
        // As long as it was when its digest was made, whatever became of it since.
        let mut file = file.take(layer.size);
        let moved = Moved::default();
        let counted = moved.clone();
        let pieces = std::iter::from_fn(move || {
            let mut piece = vec![0; PIECE];
            match file.read(&mut piece) {
                Ok(0) => None,
                Ok(count) => {
                    piece.truncate(count);
                    counted.add(count);
                    Some(Ok(Bytes::from(piece)))
                }
                Err(error) => Some(Err(OciDistributionError::from(error))),
            }
        });
        let sent = self.client.push_blob_stream(
            &self.reference.inner,
            stream::iter(pieces),
            &layer.digest,
            Some(layer.size),
        );
        self.told_while(sent, &moved).await.map(|_| ())
    }

    async fn push_document(
        &self,
        place: &OciReference,
        bytes: &[u8],
        media_type: &'static str,
    ) -> Result<(), Error> {
        let bytes = Bytes::copy_from_slice(bytes);
        let media_type = HeaderValue::from_static(media_type);
        let sent = self.client.push_manifest_raw(place, bytes, media_type);
        self.told(sent).await.map(|_| ())
    }

    /// Under its digest. The library looks for the end of the address in the tag when a registry does not say
    /// where it put a document, and would find none.
    fn by_digest(&self, digest: &str) -> OciReference {
        OciReference::with_tag(
            self.reference.inner.registry().to_owned(),
            self.reference.inner.repository().to_owned(),
            digest.to_owned(),
        )
    }

    /// What the library's request answers, which sends no file.
    async fn told<T>(
        &self,
        request: impl Future<Output = Result<T, OciDistributionError>>,
    ) -> Result<T, Error> {
        self.told_while(request, &Moved::default()).await
    }

    /// The same of one that sends a file, of which `moved` tells.
    async fn told_while<T>(
        &self,
        request: impl Future<Output = Result<T, OciDistributionError>>,
        moved: &Moved,
    ) -> Result<T, Error> {
        let answer = watched(request, self.patience, moved).await;
        let answer = answer.map_err(|ended| self.ended(ended))?;
        answer.map_err(|error| explain(error, &self.reference, &self.asker))
    }

    /// What a request that was ended from here is called.
    fn ended(&self, ended: Ended) -> Error {
        let registry = self.reference.registry().to_owned();
        match ended {
            Ended::TooLarge => Error::TooLarge {
                registry,
                most: MEMORY_MAX,
            },
            Ended::TooSlow => Error::Unreachable {
                registry,
                message: format!("nothing more came within {} s", self.patience.as_secs()),
            },
            Ended::Confused => Error::Answer {
                registry,
                message: "something that this tool's client cannot stand, such as a token that fits into no header"
                    .to_owned(),
            },
        }
    }
}
