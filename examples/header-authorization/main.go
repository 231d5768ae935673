// header-authorization lets a request through when it carries the header "allow: true" and answers 403 to every other.
package main

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

const (
	header    = "allow"
	wanted    = "true"
	forbidden = 403
	refusal   = "Forbidden by ASM Wasm Plugin"
)

// A reactor module has no running main: Envoy calls what init has set up.
func init() {
	proxywasm.SetHttpContext(func(uint32) types.HttpContext { return &request{} })
}

func main() {}

// request is one HTTP request; a new one is made for each.
type request struct {
	types.DefaultHttpContext
}

func (*request) OnHttpRequestHeaders(int, bool) types.Action {
	value, err := proxywasm.GetHttpRequestHeader(header)
	if err == nil && value == wanted {
		proxywasm.LogInfo("header-authorization: allowed")
		return types.ActionContinue
	}
	proxywasm.LogInfo("header-authorization: refused, the header allow is not true")
	contentType := [][2]string{{"content-type", "text/plain"}}
	if err := proxywasm.SendHttpResponse(forbidden, contentType, []byte(refusal), -1); err != nil {
		proxywasm.LogCriticalf("header-authorization: the refusal could not be sent: %v", err)
	}
	// Paused for good, also when the answer could not be sent: a request that was not allowed must not go on.
	return types.ActionPause
}
