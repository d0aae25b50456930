"""The certificate of our own: one key for ever, and around it whatever is needed today."""

from __future__ import annotations

import datetime
import hashlib
import shutil
import socket
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from selchat.net import certificate
from selchat.net.certificate import (
    CERTIFICATE_FILE,
    KEY_FILE,
    CertificateError,
    fingerprint,
    group_digits,
    own_certificate,
    read_fingerprint,
)
from selchat.net.tls import server_context

TODAY = datetime.datetime.now(datetime.UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the files are to be; it does not exist yet."""
    return tmp_path / "a" / "b"


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def names_of(path: Path) -> tuple[set[str], set[str]]:
    found = load(path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(found.get_values_for_type(x509.DNSName)), set(
        map(str, found.get_values_for_type(x509.IPAddress))
    )


def spki_hash(key: Path) -> str:
    private = load_pem_private_key(key.read_bytes(), None)
    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(public).hexdigest()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- making it -----------------------------------------------------------------------------------------


def test_certificate_is_made_once_and_reused(folder: Path) -> None:
    path, key = own_certificate(folder)
    assert (path, key) == (folder / CERTIFICATE_FILE, folder / KEY_FILE)
    before = path.read_bytes(), key.read_bytes()
    assert own_certificate(folder) == (path, key)
    assert (path.read_bytes(), key.read_bytes()) == before
    assert sorted(each.name for each in folder.iterdir()) == sorted([CERTIFICATE_FILE, KEY_FILE])


def test_only_the_owner_can_read_the_key(folder: Path) -> None:
    path, key = own_certificate(folder)
    assert (mode(key), mode(path), mode(folder), mode(folder.parent)) == (0o600, 0o600, 0o700, 0o700)


def test_existing_folder_keeps_its_mode(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    _, key = own_certificate(folder)
    assert (mode(folder), mode(key)) == (0o755, 0o600)


def test_certificate_has_every_name_of_this_machine_and_the_server_usage(folder: Path) -> None:
    path, _ = own_certificate(folder)
    names, addresses = names_of(path)
    assert {"localhost", socket.gethostname().lower()} <= names
    assert {"127.0.0.1", "::1"} <= addresses
    made = load(path)
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert isinstance(made.public_key(), ec.EllipticCurvePublicKey)
    assert made.not_valid_before_utc < TODAY < made.not_valid_after_utc
    assert (made.not_valid_after_utc - made.not_valid_before_utc).days <= 825, "what browsers take"
    made.verify_directly_issued_by(made)


def test_client_that_trusts_the_certificate_accepts_each_of_its_names(folder: Path) -> None:
    path, key = own_certificate(folder)
    for name in ("localhost", "127.0.0.1"):
        ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = server_context(path, key).wrap_bio(ours, theirs, server_side=True)
        client = ssl.create_default_context(cafile=str(path)).wrap_bio(theirs, ours, server_hostname=name)
        for _ in range(3):
            for end in (client, server):
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    pass
        assert client.version() == server.version() == "TLSv1.3"


# -- making it anew, around the same key -----------------------------------------------------------------


def test_new_names_or_addresses_give_a_new_certificate_with_the_same_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, key = own_certificate(folder)
    old, known = key.read_bytes(), read_fingerprint(path)
    monkeypatch.setattr(certificate, "own_names", lambda: {"ship.example"})
    own_certificate(folder)
    assert names_of(path)[0] == {"ship.example", "localhost"}
    monkeypatch.setattr(certificate, "own_addresses", lambda: {"192.168.43.158", "fd00::1"})
    own_certificate(folder)
    assert names_of(path)[1] == {"192.168.43.158", "fd00::1", "127.0.0.1", "::1"}
    assert (key.read_bytes(), read_fingerprint(path)) == (old, known)


def test_removed_names_keep_the_certificate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate, "own_names", lambda: {"one.example", "two.example"})
    path, _ = own_certificate(folder)
    before = path.read_bytes()
    monkeypatch.setattr(certificate, "own_names", lambda: {"two.example"})
    own_certificate(folder)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("begins", "ends"), [(-800, 10), (-800, -1), (5, 800)], ids=["expires soon", "expired", "not valid yet"]
)
def test_certificate_is_renewed_when_it_expires_soon_or_is_not_valid_yet(
    folder: Path, begins: int, ends: int
) -> None:
    path, key_path = own_certificate(folder)
    known, made = read_fingerprint(path), load(path)
    key = load_pem_private_key(key_path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    alternatives = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    other = (
        x509.CertificateBuilder()
        .subject_name(made.subject)
        .issuer_name(made.issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(TODAY + datetime.timedelta(days=begins))
        .not_valid_after(TODAY + datetime.timedelta(days=ends))
        .add_extension(alternatives, critical=False)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(other.public_bytes(Encoding.PEM))
    own_certificate(folder)
    assert load(path).not_valid_before_utc < TODAY
    assert load(path).not_valid_after_utc > TODAY + datetime.timedelta(days=700)
    assert read_fingerprint(path) == known


@pytest.mark.parametrize("damage", [b"", b"\0" * 100, b"-----BEGIN CERTIFICATE-----\nnonsense\n", None])
def test_damaged_certificate_is_replaced(folder: Path, damage: bytes | None) -> None:
    path, key = own_certificate(folder)
    known = read_fingerprint(path)
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    own_certificate(folder)
    assert read_fingerprint(path) == known == spki_hash(key)


def test_certificate_of_another_key_is_replaced(folder: Path, tmp_path: Path) -> None:
    path, key = own_certificate(folder)
    shutil.copy(own_certificate(tmp_path / "other")[0], path)
    own_certificate(folder)
    assert read_fingerprint(path) == spki_hash(key)


# -- a key that does not do ------------------------------------------------------------------------------


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, password: bytes = b"") -> bytes:
    hidden = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden)


def bad_keys() -> dict[str, tuple[bytes, str]]:
    curve = ec.generate_private_key(ec.SECP256R1())
    return {
        "empty": (b"", "contains no key"),
        "noise": (b"\0\xff" * 50, "contains no key"),
        "cut": (pem(curve)[:100], "contains no key"),
        "with a password": (pem(curve, b"secret"), "contains no key"),
        "of another kind": (pem(rsa.generate_private_key(65537, 2048)), "did not make"),
    }


@pytest.mark.parametrize("which", ["empty", "noise", "cut", "with a password", "of another kind"])
def test_unusable_key_is_an_error_and_is_never_replaced(folder: Path, which: str) -> None:
    path, key = own_certificate(folder)
    before = path.read_bytes()
    data, why = bad_keys()[which]
    key.write_bytes(data)
    with pytest.raises(CertificateError, match=why) as caught:
        own_certificate(folder)
    assert str(key) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (key.read_bytes(), path.read_bytes()) == (data, before)


def test_folder_that_cannot_be_made_is_an_error(folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("a file, and no folder")
    with pytest.raises(CertificateError) as caught:
        own_certificate(folder)
    assert "\n" not in str(caught.value)


# -- two at once -----------------------------------------------------------------------------------------


def test_processes_that_start_together_share_one_key(folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from selchat.net.certificate import *\n"
        "sys.stdin.readline(); path, _ = own_certificate(Path(sys.argv[1])); print(read_fingerprint(path))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60) for process in processes]
    assert {error for _, error in answers} == {""}
    assert {answer.strip() for answer, _ in answers} == {spki_hash(folder / KEY_FILE)}
    assert sorted(each.name for each in folder.iterdir()) == sorted([CERTIFICATE_FILE, KEY_FILE])


# -- fingerprints ----------------------------------------------------------------------------------------


def test_fingerprint_is_the_digest_of_the_public_key(folder: Path) -> None:
    path, key = own_certificate(folder)
    assert read_fingerprint(path) == fingerprint(ssl.PEM_cert_to_DER_cert(path.read_text()))
    assert read_fingerprint(path) == spki_hash(key)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl to compare with")
def test_openssl_computes_the_same_fingerprint(folder: Path) -> None:
    path, _ = own_certificate(folder)
    public = subprocess.run(
        ["openssl", "x509", "-in", path, "-pubkey", "-noout"], capture_output=True, check=True
    ).stdout
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-outform", "DER"], input=public, capture_output=True, check=True
    ).stdout
    assert read_fingerprint(path) == hashlib.sha256(der).hexdigest()


def test_fingerprint_is_shown_in_groups_of_four() -> None:
    assert group_digits("0123456789abcdef" * 4) == " ".join(["0123", "4567", "89ab", "cdef"] * 4)


def test_file_without_a_certificate_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path / "empty"):
        if path.name == "empty":
            path.touch()
        with pytest.raises(CertificateError, match=path.name):
            read_fingerprint(path)
