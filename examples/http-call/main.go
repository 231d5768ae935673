// http-call asks a service for a token before a request goes on, and puts the token into the request.
package main

import (
	"net/http"

	"github.com/higress-group/proxy-wasm-go-sdk/proxywasm"
	"github.com/higress-group/proxy-wasm-go-sdk/proxywasm/types"
	"github.com/higress-group/wasm-go/pkg/log"
	"github.com/higress-group/wasm-go/pkg/wrapper"
)

const (
	name    = "http-call"
	failed  = "http call failed"
	timeout = 1000 // milliseconds
)

// A reactor module has no running main: the gateway calls what init has set up.
//
// Without EnableSafeLog the SDK writes the body of what the service answered into the gateway's log.
func init() {
	wrapper.SetCtx(name,
		wrapper.ParseConfig(parse),
		wrapper.ProcessRequestHeaders(onRequestHeaders),
		wrapper.EnableSafeLog[settings](),
	)
}

func main() {}

// The request waits, with its body, until the service has answered.
func onRequestHeaders(_ wrapper.HttpContext, config settings) types.Action {
	onAnswer := func(status int, headers http.Header, _ []byte) {
		if status != http.StatusOK {
			log.Errorf("the service answered %d", status)
			refuse()
			return
		}
		pass(config.tokenHeader, headers.Get(config.tokenHeader))
	}
	if err := config.service.Get(config.requestPath, nil, onAnswer, timeout); err != nil {
		log.Errorf("the service could not be asked: %v; is %s a cluster of this gateway?", err, config.service.ClusterName())
		refuse()
	}
	return types.HeaderStopAllIterationAndWatermark
}

// pass lets the request go on with the service's token, and never with one that the client made up.
func pass(header, token string) {
	set := func() error { return proxywasm.ReplaceHttpRequestHeader(header, token) }
	if token == "" {
		set = func() error { return proxywasm.RemoveHttpRequestHeader(header) }
	}
	if err := set(); err != nil {
		log.Criticalf("the header %s could not be set: %v", header, err)
		refuse()
		return
	}
	if err := proxywasm.ResumeHttpRequest(); err != nil {
		log.Criticalf("the request could not go on: %v", err)
	}
}

// refuse answers in the upstream's place. The request is not resumed: one that was answered must never go on.
func refuse() {
	contentType := [][2]string{{"content-type", "text/plain"}}
	if err := proxywasm.SendHttpResponse(http.StatusInternalServerError, contentType, []byte(failed), -1); err != nil {
		log.Criticalf("the refusal could not be sent: %v", err)
	}
}
