"""A test CA and what it signs, made with GnuTLS's certtool."""

import base64
import hashlib
import subprocess

NAMES = """
dns_name = "localhost"
ip_address = "127.0.0.1"
ip_address = "::1"
"""
SERVER = "tls_www_server\nsigning_key\n"
PAST = """
activation_date = "2020-01-01 00:00:00 UTC"
expiration_date = "2020-02-01 00:00:00 UTC"
"""


def certtool(*args, **options):
    return subprocess.run(["certtool", *map(str, args)], check=True,
                          capture_output=True, timeout=60, **options)


class Pair:
    """A certificate and its key, as two PEM files."""

    def __init__(self, directory, name, template, signer=None):
        self.cert = directory / f"{name}.pem"
        self.key = directory / f"{name}.key"
        path = directory / f"{name}.template"
        path.write_text(f'cn = "{name}"\n' + template)
        certtool("--generate-privkey", "--key-type", "ecdsa", "--curve",
                 "secp256r1", "--outfile", self.key)
        args = ["--generate-self-signed"] if signer is None else [
            "--generate-certificate", "--load-ca-certificate", signer.cert,
            "--load-ca-privkey", signer.key]
        certtool(*args, "--load-privkey", self.key, "--template", path,
                 "--outfile", self.cert)

    def pin(self):
        """The SHA-256 of its public key, as --pin takes it."""
        done = certtool("--infile", self.cert, "--pubkey-info", "--outder")
        digest = hashlib.sha256(done.stdout).digest()
        return "sha256//" + base64.b64encode(digest).decode()


class Authority:
    """A CA with one leaf of each kind."""

    def __init__(self, directory):
        ca = "ca\ncert_signing_key\nexpiration_days = 30\n"
        days = "expiration_days = 30\n"
        self.root = Pair(directory, "ca", ca)
        self.stranger = Pair(directory, "stranger", ca)
        self.good = Pair(directory, "good", SERVER + NAMES + days, self.root)
        self.expired = Pair(directory, "expired", SERVER + NAMES + PAST,
                            self.root)
        self.wrong_name = Pair(
            directory, "wrong-name",
            SERVER + 'dns_name = "elsewhere.example"\n' + days, self.root)
        self.untrusted = Pair(directory, "untrusted", SERVER + NAMES + days,
                              self.stranger)
        client = "tls_www_client\nsigning_key\n" + days
        self.client = Pair(directory, "client", client, self.root)
        self.wrong_client = Pair(directory, "wrong-client", client,
                                 self.stranger)
