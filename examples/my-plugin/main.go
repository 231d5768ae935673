// my-plugin marks every request with the header "hello: world" and, when mockEnable is true, answers in the upstream's place.
package main

import (
	"errors"
	"net/http"

	"github.com/higress-group/proxy-wasm-go-sdk/proxywasm"
	"github.com/higress-group/proxy-wasm-go-sdk/proxywasm/types"
	"github.com/higress-group/wasm-go/pkg/log"
	"github.com/higress-group/wasm-go/pkg/wrapper"
	"github.com/tidwall/gjson"
)

const (
	name = "my-plugin"
	mock = "hello world"
)

// A reactor module has no running main: the gateway calls what init has set up.
func init() {
	wrapper.SetCtx(name, wrapper.ParseConfig(parse), wrapper.ProcessRequestHeaders(onRequestHeaders))
}

func main() {}

// settings is one configuration: the default one, or that of a rule for a domain, a route or a service.
type settings struct {
	mockEnable bool
}

// An error here fails the start of the plugin: the gateway refuses the configuration and keeps what ran before.
func parse(config gjson.Result, into *settings) error {
	value := config.Get("mockEnable")
	if value.Exists() && !value.IsBool() {
		return errors.New("mockEnable is " + value.Raw + ": write true or false, without quotes")
	}
	into.mockEnable = value.Bool()
	return nil
}

func onRequestHeaders(_ wrapper.HttpContext, config settings) types.Action {
	if config.mockEnable {
		return answer()
	}
	if err := proxywasm.AddHttpRequestHeader("hello", "world"); err != nil {
		log.Criticalf("the header could not be added: %v", err)
	}
	return types.ActionContinue
}

// The request stays paused: one that was answered already must never go on.
func answer() types.Action {
	contentType := [][2]string{{"content-type", "text/plain"}}
	if err := proxywasm.SendHttpResponse(http.StatusOK, contentType, []byte(mock), -1); err != nil {
		log.Criticalf("the answer could not be sent: %v", err)
	}
	return types.HeaderStopAllIterationAndWatermark
}
