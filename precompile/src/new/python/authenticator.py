"""An authenticator: knows clients by the secret that they send in `x-api-key`."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.authenticator import (
    AuthResult_Authenticated,
    AuthResult_Challenge,
    AuthResult_Denied,
)
from wit_world.imports import secrets
from wit_world.imports.common import Error, KeyValue


class Authenticator(exports.Authenticator):
    def authenticate(self, request):
        keys = [header.value for header in request.headers if header.key == "x-api-key"]
        if not keys:
            return AuthResult_Challenge("ApiKey")
        try:
            return AuthResult_Authenticated(self.validate_token(keys[0]))
        except Err as error:
            return AuthResult_Denied(error.value.message)

    def validate_token(self, token):
        if token != secrets.get_required("api_key"):
            raise Err(Error(code="WRONG_KEY", message="the key is not the one"))
        # Later stages find it in a request's context, as `claim.sub`.
        return [KeyValue(key="sub", value="client")]

=====
import unittest

import host_double
import app


class Test(unittest.TestCase):
    def test_the_right_key_is_let_in_and_no_other(self):
        host_double.Host(secrets={"api_key": "sesame"})
        self.assertEqual(app.Authenticator().validate_token("sesame")[0].key, "sub")
        with self.assertRaises(host_double.Err):
            app.Authenticator().validate_token("simsalabim")

    def test_without_a_secret_nobody_is_let_in(self):
        host_double.Host()
        with self.assertRaises(host_double.Err) as raised:
            app.Authenticator().validate_token("sesame")
        self.assertEqual(raised.exception.value.code, "SECRET_MISSING")
