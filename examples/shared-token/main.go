// shared-token lets a request through when its header has the token of the configuration, and answers 403 to all others.
package main

import (
	"crypto/subtle"
	"encoding/json"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

const forbidden = 403

func init() {
	proxywasm.SetPluginContext(func(uint32) types.PluginContext { return &plugin{} })
}

func main() {}

type plugin struct {
	types.DefaultPluginContext
	config configuration
}

// configuration is what the release gives: plugin.config, with the values of plugin.configFrom.
type configuration struct {
	Header string `json:"header"`
	Token  string `json:"token"`
}

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	raw, err := proxywasm.GetPluginConfiguration()
	if err == nil {
		err = json.Unmarshal(raw, &p.config)
	}
	if err != nil || p.config.Header == "" || p.config.Token == "" {
		// Without a token everyone could pass. What was given is a secret, so the line does not have it.
		proxywasm.LogError("shared-token: the configuration needs header and token")
		return types.OnPluginStartStatusFailed
	}
	return types.OnPluginStartStatusOK
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext {
	return &request{config: p.config}
}

type request struct {
	types.DefaultHttpContext
	config configuration
}

func (r *request) OnHttpRequestHeaders(int, bool) types.Action {
	value, err := proxywasm.GetHttpRequestHeader(r.config.Header)
	if err == nil && subtle.ConstantTimeCompare([]byte(value), []byte(r.config.Token)) == 1 {
		return types.ActionContinue
	}
	if err := proxywasm.SendHttpResponse(forbidden, nil, []byte("the token is missing or wrong"), -1); err != nil {
		proxywasm.LogCriticalf("shared-token: the refusal could not be sent: %v", err)
	}
	return types.ActionPause
}
