package main

import (
	"errors"
	"fmt"

	"github.com/higress-group/wasm-go/pkg/wrapper"
	"github.com/tidwall/gjson"
)

// settings is one configuration: whom to ask, for what path, and which header of the answer is the token.
type settings struct {
	requestPath string
	tokenHeader string
	service     wrapper.HttpClient
}

// An error here fails the start of the plugin: the gateway refuses the configuration and keeps what ran before.
func parse(config gjson.Result, into *settings) error {
	into.requestPath = config.Get("requestPath").String()
	if into.requestPath == "" {
		return errors.New("requestPath is missing: write the path to ask the service for, like /auth")
	}
	into.tokenHeader = config.Get("tokenHeader").String()
	if into.tokenHeader == "" {
		return errors.New("tokenHeader is missing: name the header of the answer that is the token")
	}
	service, err := locate(config)
	into.service = service
	return err
}

// locate finds the gateway's cluster for the service; each kind of source has its own way to name one.
func locate(config gjson.Result) (wrapper.HttpClient, error) {
	service, port := config.Get("serviceName").String(), config.Get("servicePort").Int()
	if service == "" {
		return nil, errors.New("serviceName is missing: name the service to ask")
	}
	if port < 1 || port > 65535 {
		return nil, errors.New("servicePort is missing or no port: write a number from 1 to 65535")
	}
	namespace, domain := config.Get("namespace").String(), config.Get("domain").String()
	switch source := config.Get("serviceSource").String(); source {
	case "k8s":
		if namespace == "" {
			namespace = "default"
		}
		return wrapper.NewClusterClient(wrapper.K8sCluster{ServiceName: service, Namespace: namespace, Port: port}), nil
	case "nacos":
		if namespace == "" {
			return nil, errors.New("namespace is missing: write the id of the service's Nacos namespace, like public")
		}
		return wrapper.NewClusterClient(wrapper.NacosCluster{ServiceName: service, NamespaceID: namespace, Port: port}), nil
	case "ip":
		return wrapper.NewClusterClient(wrapper.StaticIpCluster{ServiceName: service, Port: port}), nil
	case "dns":
		if domain == "" {
			return nil, errors.New("domain is missing: write the host name that the service is to be asked by")
		}
		return wrapper.NewClusterClient(wrapper.DnsCluster{ServiceName: service, Domain: domain, Port: port}), nil
	default:
		return nil, fmt.Errorf("serviceSource is %q: write k8s, nacos, ip or dns", source)
	}
}
