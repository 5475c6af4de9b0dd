package main

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/pkg/apis/clientauthentication"
	"k8s.io/client-go/pkg/apis/clientauthentication/install"
	"k8s.io/client-go/pkg/apis/clientauthentication/v1"
	"k8s.io/client-go/rest"
)

// execCluster is spec.cluster of a plugin's input.
func execCluster(config *rest.Config) (any, error) {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	cluster, err := rest.ConfigToExecCluster(config)
	if err != nil {
		return nil, err
	}
	input := &clientauthentication.ExecCredential{Spec: clientauthentication.ExecCredentialSpec{Cluster: cluster}}
	encoded, err := runtime.Encode(serializer.NewCodecFactory(scheme).LegacyCodec(v1.SchemeGroupVersion), input)
	if err != nil {
		return nil, err
	}
	var decoded struct {
		Spec struct {
			Cluster any `json:"cluster"`
		} `json:"spec"`
	}
	err = json.Unmarshal(encoded, &decoded)
	return decoded.Spec.Cluster, err
}
