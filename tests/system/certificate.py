"""A test CA and its certificates, made with openssl(1)."""

import base64
import datetime
import hashlib
import subprocess

# The purpose of a leaf, and its names.
SERVER, CLIENT = "serverAuth", "clientAuth"
NAMES = ("DNS:localhost", "IP:127.0.0.1", "IP:::1")

PAST = (datetime.datetime(2020, 1, 1), datetime.datetime(2020, 2, 1))

# For "openssl ca", which alone can make certificates of the past.
CONFIG = """
[ca]
default_ca = all
[all]
database = {index}
new_certs_dir = {directory}
rand_serial = yes
default_md = sha256
email_in_dn = no
unique_subject = no
policy = anything
[anything]
commonName = supplied
[extensions]
subjectKeyIdentifier = hash
"""
AUTHORITY = """basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
"""
LEAF = """basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
authorityKeyIdentifier = keyid
extendedKeyUsage = {usage}
"""


def openssl(*args, **options):
    return subprocess.run(["openssl", *map(str, args)], check=True,
                          capture_output=True, timeout=60, **options).stdout


def around_now():
    now = datetime.datetime.now(datetime.timezone.utc)
    return (now - datetime.timedelta(days=1),
            now + datetime.timedelta(days=30))


class Pair:
    """A certificate and its key, as two PEM files; without a usage it is a CA,
    and without a signer it signs itself."""

    def __init__(self, directory, name, usage=None, names=(), signer=None,
                 dates=None):
        self.cert = directory / f"{name}.pem"
        self.key = directory / f"{name}.key"
        request, config, index = (directory / f"{name}.{ending}" for ending
                                  in ("request", "config", "index"))
        index.touch()
        text = CONFIG.format(index=index, directory=directory)
        text += LEAF.format(usage=usage) if usage else AUTHORITY
        if names:
            text += f"subjectAltName = {','.join(names)}\n"
        if not signer:  # it has no issuer to be identified yet
            text = text.replace("authorityKeyIdentifier = keyid\n", "")
        config.write_text(text)
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
                f"/CN={name}", "-keyout", self.key, "-out", request)
        start, end = (date.strftime("%Y%m%d%H%M%SZ")
                      for date in dates or around_now())
        openssl("ca", "-batch", "-notext", "-config", config, "-in", request,
                "-out", self.cert, "-startdate", start, "-enddate", end,
                "-extensions", "extensions", "-keyfile",
                signer.key if signer else self.key,
                *(("-cert", signer.cert) if signer else ("-selfsign",)))

    def pin(self):
        """The SHA-256 of its public key, as --pin takes it."""
        public = openssl("x509", "-in", self.cert, "-noout", "-pubkey")
        der = openssl("pkey", "-pubin", "-outform", "DER", input=public)
        return "sha256//" + \
            base64.b64encode(hashlib.sha256(der).digest()).decode()


class Authority:
    """A CA with one leaf of each kind."""

    def __init__(self, directory):
        def leaf(name, usage, names=(), signer=None, dates=None):
            return Pair(directory, name, usage, names, signer or self.root,
                        dates)

        self.root = Pair(directory, "ca")
        self.stranger = Pair(directory, "stranger")
        self.good = leaf("good", SERVER, NAMES)
        self.expired = leaf("expired", SERVER, NAMES, dates=PAST)
        self.wrong_name = leaf("wrong-name", SERVER,
                               ("DNS:elsewhere.example",))
        self.untrusted = leaf("untrusted", SERVER, NAMES, self.stranger)
        self.client = leaf("client", CLIENT)
        self.wrong_client = leaf("wrong-client", CLIENT,
                                 signer=self.stranger)
