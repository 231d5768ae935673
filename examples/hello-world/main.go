// hello-world answers every request with 200 "hello world"; no upstream is asked.
package main

import (
	"net/http"

	"github.com/higress-group/proxy-wasm-go-sdk/proxywasm"
	"github.com/higress-group/proxy-wasm-go-sdk/proxywasm/types"
	"github.com/higress-group/wasm-go/pkg/log"
	"github.com/higress-group/wasm-go/pkg/wrapper"
)

// The plugin has no settings; the SDK takes an empty type as the word for that.
type settings struct{}

// A reactor module has no running main: the gateway calls what init has set up.
func init() {
	wrapper.SetCtx("hello-world", wrapper.ProcessRequestHeaders(onRequestHeaders))
}

func main() {}

// The request stays paused: one that was answered already must never go on.
func onRequestHeaders(wrapper.HttpContext, settings) types.Action {
	contentType := [][2]string{{"content-type", "text/plain"}}
	if err := proxywasm.SendHttpResponse(http.StatusOK, contentType, []byte("hello world"), -1); err != nil {
		log.Criticalf("the answer could not be sent: %v", err)
	}
	return types.HeaderStopAllIterationAndWatermark
}
