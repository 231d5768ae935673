// redis-rate-limit counts a minute's requests in Redis, for all gateways together, and answers 429 when they are too many.
package main

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/higress-group/proxy-wasm-go-sdk/proxywasm"
	"github.com/higress-group/proxy-wasm-go-sdk/proxywasm/types"
	"github.com/higress-group/wasm-go/pkg/log"
	"github.com/higress-group/wasm-go/pkg/wrapper"
	"github.com/tidwall/gjson"
	"github.com/tidwall/resp"
)

const (
	name           = "redis-rate-limit"
	tooMany        = "too many requests"
	defaultTimeout = 1000 // milliseconds

	// One step, so that a gateway that is stopped in between leaves no counter that never ends.
	count = `local n = redis.call('INCR', KEYS[1])
if n == 1 then redis.call('EXPIRE', KEYS[1], 120) end
return n`
)

// A reactor module has no running main: the gateway calls what init has set up.
func init() {
	wrapper.SetCtx(name, wrapper.ParseConfig(parse), wrapper.ProcessRequestHeaders(onRequestHeaders))
}

func main() {}

// settings is one configuration: how many requests a minute may have, and the Redis that counts them.
type settings struct {
	qpm   int64
	redis wrapper.RedisClient
}

// An error here fails the start of the plugin: the gateway refuses the configuration and keeps what ran before.
func parse(config gjson.Result, into *settings) error {
	into.qpm = config.Get("qpm").Int()
	if into.qpm < 1 {
		return errors.New("qpm is missing or no number: write how many requests a minute may have, 1 or more")
	}
	service, port := config.Get("redis.serviceName").String(), config.Get("redis.servicePort").Int()
	if service == "" {
		return errors.New("redis.serviceName is missing: write the service's full name, like redis.infra.svc.cluster.local")
	}
	if port == 0 {
		port = 6379
	}
	timeout := config.Get("redis.timeout").Int()
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	into.redis = wrapper.NewRedisClusterClient(wrapper.FQDNCluster{FQDN: service, Port: port})
	return into.redis.Init(config.Get("redis.username").String(), config.Get("redis.password").String(), timeout)
}

// The request waits, with its body, until Redis has answered. A Redis that is away stops nobody: the limit is not kept.
func onRequestHeaders(_ wrapper.HttpContext, config settings) types.Action {
	minute := "requests:" + strconv.FormatInt(time.Now().Unix()/60, 10)
	err := config.redis.Eval(count, 1, []interface{}{minute}, nil, func(answer resp.Value) {
		if answer.Error() != nil {
			log.Errorf("Redis did not count the request: %v", answer.Error())
			pass()
			return
		}
		decide(int64(answer.Integer()), config.qpm)
	})
	if err != nil {
		log.Errorf("Redis could not be asked: %v", err)
		return types.ActionContinue
	}
	return types.HeaderStopAllIterationAndWatermark
}

func decide(counted, qpm int64) {
	if counted > qpm {
		refuse()
		return
	}
	pass()
}

func pass() {
	if err := proxywasm.ResumeHttpRequest(); err != nil {
		log.Criticalf("the request could not go on: %v", err)
	}
}

// refuse answers in the upstream's place. The request is not resumed: one that was answered must never go on.
func refuse() {
	contentType := [][2]string{{"content-type", "text/plain"}}
	if err := proxywasm.SendHttpResponse(http.StatusTooManyRequests, contentType, []byte(tooMany), -1); err != nil {
		log.Criticalf("the refusal could not be sent: %v", err)
	}
}
