"""Encryption of the gRPC port (config/ssl_config.proto)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inception_serving import errors


@dataclass(frozen=True)
class Tls:
    """What encrypts the connections, all of it PEM.

    Attributes:
        key: the server's own.
        certificate: the server's, with the chain that leads to its authority.
        client_authority: whose certificates clients may show.
        require_client_certificate: refuse clients that show none.
    """

    key: bytes
    certificate: bytes
    client_authority: bytes | None = None
    require_client_certificate: bool = False

    def __post_init__(self) -> None:
        """Check them.

        Raises:
            errors.InvalidArgumentError: something is missing.
        """
        if not self.key or not self.certificate:
            raise errors.InvalidArgumentError("TLS needs a server_key and a server_cert.")
        if self.require_client_certificate and not self.client_authority:
            raise errors.InvalidArgumentError(
                "client_verify needs a custom_ca, to verify clients by."
            )

    def credentials(self) -> Any:
        """The same as gRPC's server credentials."""
        import grpc  # here, since options that hold keys are read where nothing is served

        return grpc.ssl_server_credentials(
            [(self.key, self.certificate)],
            root_certificates=self.client_authority,
            require_client_auth=self.require_client_certificate,
        )
