//! TLS: the server's certificate, and connections that are encrypted with it.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A certificate that connections are encrypted with. Cloneable handle.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// A file does not have what it should.
    #[error("`{}` has no {wanted}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        wanted: &'static str,
    },
    /// A file is not as PEM files are.
    #[error("`{}` is no PEM file, or a damaged one", path.display())]
    NoPem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The two do not belong together, or the key is of a kind that is not known.
    #[error("the certificate and the key cannot be used together")]
    Mismatch {
        /// What is wrong.
        why: String,
    },
}

impl TlsError {
    /// Why it happened.
    pub fn why(&self) -> String {
        match self {
            Self::Unreadable { cause, .. } => cause.to_string(),
            Self::Missing { .. } => "a PEM file has it between lines that begin with `-----BEGIN`".into(),
            Self::NoPem { why, .. } | Self::Mismatch { why } => why.clone(),
        }
    }

    /// How to mend it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Unreadable { .. } => "see that the file is there, and that this user may read it".into(),
            Self::Missing { .. } | Self::NoPem { .. } => {
                "--tls-cert takes the chain, the server's own certificate first, and --tls-key its private key, both as PEM".into()
            }
            Self::Mismatch { .. } => "name the key that the certificate was made for; RSA, ECDSA and Ed25519 are known".into(),
        }
    }
}

/// The certificate that is shown, which may be replaced.
#[derive(Debug)]
struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Tls {
    /// Of a chain and a key in PEM files. HTTP/2 and HTTP/1.1 are offered.
    ///
    /// # Errors
    /// Where the files do not hold that.
    pub fn load(chain: &Path, key: &Path) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let current = RwLock::new(Arc::new(read(chain, key, &provider)?));
        let certificate = Arc::new(Certificate { chain: chain.to_owned(), key: key.to_owned(), current });
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("the provider has suites for the versions that are the default");
        let mut config = config.with_no_client_auth().with_cert_resolver(certificate.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate })
    }

    /// Reads the files again, for new connections. Where they cannot be used, the certificate stays.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn reload(&self) -> Result<(), TlsError> {
        let Certificate { chain, key, current } = &*self.certificate;
        let new = Arc::new(read(chain, key, &ring::default_provider())?);
        *current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<Encrypted> {
        self.acceptor.accept(stream).await.map(Encrypted)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn read(chain: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(chain).and_then(Iterator::collect);
    let certificates = certificates.map_err(|error| refused(chain, "certificate", error))?;
    if certificates.is_empty() {
        return Err(TlsError::Missing { path: chain.to_owned(), wanted: "certificate" });
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| refused(key, "private key", error))?;
    CertifiedKey::from_der(certificates, key, provider).map_err(|error| TlsError::Mismatch { why: error.to_string() })
}

fn refused(path: &Path, wanted: &'static str, error: pem::Error) -> TlsError {
    let path = path.to_owned();
    match error {
        pem::Error::Io(cause) => TlsError::Unreadable { path, cause },
        pem::Error::NoItemsFound => TlsError::Missing { path, wanted },
        other => TlsError::NoPem { path, why: other.to_string() },
    }
}

/// An encrypted connection, which has its socket's descriptor.
pub(crate) struct Encrypted(TlsStream<TcpStream>);

impl AsFd for Encrypted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().0.as_fd()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.0).poll_read(context, buffer) {
            // A caller that ends without saying so has ended all the same; lengths tell where messages are cut off.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            polled => polled,
        }
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
